// Package bench keeps the measurements behind docs/performance.md: the real program as several processes, beside what else does the same work; and the simulation behind docs/trust.md.
// It promises one line "figure NAME = VALUE UNIT" for each, and with -full a failure where a required figure is missed.
// It leaves the timing of single parts to the benchmarks of their rooms, and whether results are right to the other tests.
package bench
