// The kernels by which the cost of metering is measured: integers, floats, memory, calls, calls through a table. Each takes a size and gives
// a number that depends on all it did. clang --target=wasm32 -O2 -nostdlib -Wl,--no-entry -Wl,--export-dynamic
#include <stdint.h>
#define EXPORT(name) __attribute__((export_name(#name))) uint64_t name(int n)

static uint64_t bits(double d) { union { double d; uint64_t u; } x = {d}; return x.u; }

static uint32_t rotr(uint32_t x, int n) { return x >> n | x << (32 - n); }

EXPORT(sha256) {
	static uint32_t k[64];
	uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
	for (int i = 0; i < 64; i++) k[i] = 0x9e3779b9u * (i + 1);
	for (int b = 0; b < n; b++) {
		uint32_t w[64], s[8];
		for (int i = 0; i < 16; i++) w[i] = b * 16 + i;
		for (int i = 16; i < 64; i++) {
			uint32_t a = rotr(w[i - 15], 7) ^ rotr(w[i - 15], 18) ^ w[i - 15] >> 3, c = rotr(w[i - 2], 17) ^ rotr(w[i - 2], 19) ^ w[i - 2] >> 10;
			w[i] = w[i - 16] + a + w[i - 7] + c;
		}
		for (int i = 0; i < 8; i++) s[i] = h[i];
		for (int i = 0; i < 64; i++) {
			uint32_t t1 = s[7] + (rotr(s[4], 6) ^ rotr(s[4], 11) ^ rotr(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
			uint32_t t2 = (rotr(s[0], 2) ^ rotr(s[0], 13) ^ rotr(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
			s[7] = s[6]; s[6] = s[5]; s[5] = s[4]; s[4] = s[3] + t1; s[3] = s[2]; s[2] = s[1]; s[1] = s[0]; s[0] = t1 + t2;
		}
		for (int i = 0; i < 8; i++) h[i] += s[i];
	}
	return (uint64_t)h[0] << 32 | h[7];
}

EXPORT(sieve) {
	static uint8_t no[1 << 20];
	uint64_t sum = 0;
	for (int round = 0; round < n; round++) {
		for (int i = 0; i < 1 << 20; i++) no[i] = 0;
		for (int i = 2; i < 1 << 20; i++)
			if (!no[i]) {
				sum++;
				for (int j = 2 * i; j < 1 << 20; j += i) no[j] = 1;
			}
	}
	return sum;
}

EXPORT(collatz) {
	uint64_t most = 0;
	for (int i = 1; i < n; i++) {
		uint64_t steps = 0;
		for (uint64_t x = i; x != 1; steps++) x = x & 1 ? 3 * x + 1 : x / 2;
		if (steps > most) most = steps;
	}
	return most;
}

EXPORT(nbody) {
	static double p[5][3], v[5][3], m[5];
	for (int i = 0; i < 5; i++) {
		m[i] = 1.0 / (i + 1);
		for (int k = 0; k < 3; k++) p[i][k] = i * 3 + k, v[i][k] = (i ^ k) * 0.1;
	}
	for (int s = 0; s < n; s++) {
		for (int i = 0; i < 5; i++)
			for (int j = i + 1; j < 5; j++) {
				double d[3], q = 0.01;
				for (int k = 0; k < 3; k++) d[k] = p[i][k] - p[j][k], q += d[k] * d[k];
				double f = 0.001 / (q * __builtin_sqrt(q));
				for (int k = 0; k < 3; k++) v[i][k] -= d[k] * m[j] * f, v[j][k] += d[k] * m[i] * f;
			}
		for (int i = 0; i < 5; i++)
			for (int k = 0; k < 3; k++) p[i][k] += 0.001 * v[i][k];
	}
	return bits(p[0][0] + v[4][2]);
}

EXPORT(mandel) {
	uint64_t sum = 0;
	for (int y = 0; y < n; y++)
		for (int x = 0; x < n; x++) {
			double cr = 3.0 * x / n - 2, ci = 2.0 * y / n - 1, r = 0, i = 0;
			int k = 0;
			for (; k < 200 && r * r + i * i < 4; k++) {
				double t = r * r - i * i + cr;
				i = 2 * r * i + ci;
				r = t;
			}
			sum += k;
		}
	return sum;
}

#define MATMUL(name, T) \
	EXPORT(name) { \
		static T a[160][160], b[160][160], c[160][160]; \
		for (int i = 0; i < 160; i++) \
			for (int j = 0; j < 160; j++) a[i][j] = i + j, b[i][j] = i - j; \
		for (int round = 0; round < n; round++) \
			for (int i = 0; i < 160; i++) \
				for (int j = 0; j < 160; j++) { \
					T s = 0; \
					for (int k = 0; k < 160; k++) s += a[i][k] * b[k][j]; \
					c[i][j] = s + round; \
				} \
		return bits(c[3][4] + c[150][7]); \
	}
MATMUL(matmul, double)
MATMUL(matf32, float)

EXPORT(saxpy) {
	static float x[4096], y[4096];
	for (int i = 0; i < 4096; i++) x[i] = i * 0.5f, y[i] = i;
	for (int round = 0; round < n; round++)
		for (int i = 0; i < 4096; i++) y[i] = y[i] * 0.5f + x[i] * 0.25f;
	return bits(y[77]);
}

static double sine(double x) {
	double t = x, s = x;
	for (int k = 1; k < 12; k++) {
		t *= -x * x / ((2 * k) * (2 * k + 1));
		s += t;
	}
	return s;
}

EXPORT(series) {
	double s = 0;
	for (int i = 0; i < n; i++) s += sine(i * 1e-6);
	return bits(s);
}

static __attribute__((noinline)) uint32_t f0(uint32_t x) { return x * 1664525 + 1013904223; }
static __attribute__((noinline)) uint32_t f1(uint32_t x) { return x ^ x << 13; }
static __attribute__((noinline)) uint32_t f2(uint32_t x) { return x ^ x >> 17; }
static __attribute__((noinline)) uint32_t f3(uint32_t x) { return x + (x << 5); }

EXPORT(icall) {
	static uint32_t (*volatile f[4])(uint32_t) = {f0, f1, f2, f3};
	uint32_t x = 1;
	for (int i = 0; i < n; i++) x = f[x >> 30](x);
	return x;
}

static __attribute__((noinline)) int fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
EXPORT(fib) { return fibonacci(n); }

static void sort(uint32_t *a, int lo, int hi) {
	while (lo < hi) {
		uint32_t p = a[(lo + hi) / 2];
		int i = lo, j = hi;
		while (i <= j) {
			while (a[i] < p) i++;
			while (a[j] > p) j--;
			if (i <= j) {
				uint32_t t = a[i];
				a[i++] = a[j];
				a[j--] = t;
			}
		}
		sort(a, lo, j);
		lo = i;
	}
}

EXPORT(quicksort) {
	static uint32_t a[1 << 16];
	uint64_t sum = 0;
	for (int round = 0; round < n; round++) {
		uint32_t x = round + 1;
		for (int i = 0; i < 1 << 16; i++) a[i] = x = x * 1664525 + 1013904223;
		sort(a, 0, (1 << 16) - 1);
		sum += a[1000];
	}
	return sum;
}

// interpret runs a program of a little stack machine, as many interpreters of languages do: a switch in a loop.
EXPORT(interpret) {
	static const uint8_t code[] = {0, 1, 2, 3, 4, 5, 1, 4, 2, 6};
	uint32_t stack[16], x = 1, y = 2;
	int sp = 0;
	for (int pc = 0; n > 0; pc++)
		switch (code[pc]) {
		case 0: stack[sp++ & 15] = x; break;
		case 1: x = x * 3 + y; break;
		case 2: y ^= x >> 3; break;
		case 3: stack[sp++ & 15] = y; break;
		case 4: x += stack[--sp & 15]; break;
		case 5: if (x & 1) y++; break;
		default: pc = -1, n--;
		}
	return x + y;
}
