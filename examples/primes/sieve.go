package main

import "math/bits"

// window is how many odd numbers are sieved at a time: 32 KiB of bits, the size of a core's first cache.
const window = 32 << 10 * 8

// countPrimes counts the primes p with low <= p < high by the segmented sieve of Eratosthenes:
//
//  1. two counts by itself; from here on there are odd numbers only;
//  2. find the base primes up to the root of high;
//  3. for one window of odd numbers after the other, strike out the odd multiples of each base prime from its square
//     on, and count what stays.
func countPrimes(low, high uint64) uint64 {
	total := uint64(0)
	if low <= 2 && high > 2 {
		total = 1
	}
	low, high = max(low, 3)|1, high|1 // odd; high itself is out
	if low >= high {
		return total
	}
	base := basePrimes(high)
	field := make([]uint64, window/64)
	for ; low < high; low += 2 * window {
		n := min(window, (high-low)/2)
		total += n - strike(field, low, n, base)
	}
	return total
}

// strike marks the composite ones of the n odd numbers from low on, and gives how many they are.
func strike(field []uint64, low, n uint64, base []uint64) uint64 {
	clear(field)
	for _, p := range base {
		first := p * p
		if first >= low+2*n {
			break
		}
		if first < low {
			first = (low + p - 1) / p * p
			if first&1 == 0 {
				first += p
			}
		}
		for i := (first - low) / 2; i < n; i += p {
			field[i/64] |= 1 << (i % 64)
		}
	}
	struck := 0
	for _, word := range field {
		struck += bits.OnesCount64(word)
	}
	return uint64(struck)
}

// basePrimes gives the odd primes p with p*p < limit, in order, by the plain sieve.
func basePrimes(limit uint64) []uint64 {
	end := uint64(1)
	for end*end < limit {
		end++
	}
	composite := make([]bool, end)
	var base []uint64
	for n := uint64(3); n < end; n += 2 {
		if composite[n] {
			continue
		}
		base = append(base, n)
		for m := n * n; m < end; m += 2 * n {
			composite[m] = true
		}
	}
	return base
}
