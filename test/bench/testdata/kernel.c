/* A computation that keeps to registers: as many steps of xorshift64 (Marsaglia, 2003) as its argument says. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
	uint64_t x = 88172645463325252ull;
	for (long n = argc > 1 ? atol(argv[1]) : 0; n > 0; n--) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
	printf("%llu\n", (unsigned long long)x);
	return 0;
}
