/* Runs a kernel of spec/meter NAME times with a SIZE, natively or as a WASI program: NAME SIZE TIMES. */
#include "../../../spec/meter/testdata/kernels.c"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	uint64_t (*run)(int);
} kernels[] = {{"sha256", sha256}, {"sieve", sieve}, {"collatz", collatz}, {"nbody", nbody}, {"mandel", mandel}, {"matmul", matmul}, {"matf32", matf32}, {"series", series}, {"icall", icall}};

int main(int argc, char **argv) {
	if (argc != 4) return 2;
	for (unsigned i = 0; i < sizeof kernels / sizeof *kernels; i++) {
		if (strcmp(kernels[i].name, argv[1])) continue;
		uint64_t sum = 0;
		volatile int size = atoi(argv[2]);
		for (int n = atoi(argv[3]); n > 0; n--) sum = sum * 31 + kernels[i].run(size);
		printf("%016llx\n", (unsigned long long)sum);
		return 0;
	}
	return 3;
}
