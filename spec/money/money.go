// Package money keeps amounts of HPIPS as people type and read them and as the chain counts them: whole uhpips, a million to one HPIPS.
// It promises that reading back what was written gives the same amount, that nothing is rounded, and that no amount exceeds what exists.
// It leaves balances, fees and other denominations to the rooms that move them.
package money

import (
	"errors"
	"fmt"
	"strings"
)

// Denom is the chain's base denomination, Symbol the one for people, and Scale how many of the first make one of the second.
const (
	Denom    = "uhpips"
	Symbol   = "HPIPS"
	Decimals = 6
	Scale    = 1_000_000
)

// Total is all HPIPS that ever were or will be.
const Total Amount = 100_000_000 * Scale

// Amount counts uhpips.
type Amount uint64

// The reasons to refuse an amount.
var (
	ErrFormat   = errors.New("not an amount: want digits, at most six decimals, and HPIPS, uhpips or nothing behind them")
	ErrNegative = errors.New("an amount is never negative")
	ErrDecimals = errors.New("more than six decimals: 0.000001 HPIPS is the least there is")
	ErrTooMuch  = errors.New("more than the 100000000 HPIPS that exist")
)

// longest is more than any amount needs, leading zeros and unit included.
const longest = 48

// Parse reads "5", "0.000001", "5HPIPS", "5 HPIPS" and "12uhpips". A number without a unit is in HPIPS; uhpips are whole.
func Parse(text string) (Amount, error) {
	a, err := parse(text)
	if err != nil {
		if len(text) > longest {
			text = text[:longest] + "…"
		}
		return 0, fmt.Errorf("amount %q: %w", text, err)
	}
	return a, nil
}

func parse(text string) (Amount, error) {
	if len(text) > longest {
		return 0, ErrFormat
	}
	if strings.HasPrefix(text, "-") {
		return 0, ErrNegative
	}
	number, base := strings.CutSuffix(text, Denom)
	if !base {
		number, _ = strings.CutSuffix(number, Symbol)
	}
	if number != text {
		number = strings.TrimSuffix(number, " ")
	}
	whole, part, dotted := strings.Cut(number, ".")
	switch {
	case !digits(whole), dotted && !digits(part):
		return 0, ErrFormat
	case base && dotted:
		return 0, ErrDecimals
	case len(part) > Decimals:
		return 0, ErrDecimals
	}
	if !base {
		whole += part + strings.Repeat("0", Decimals-len(part))
	}
	var a Amount
	for _, digit := range whole {
		if a = 10*a + Amount(digit-'0'); a > Total { // Total × 10 is far below the end of the type
			return 0, ErrTooMuch
		}
	}
	return a, nil
}

// ParseBase reads what Base writes.
func ParseBase(text string) (Amount, error) {
	if !digits(text) {
		return 0, fmt.Errorf("amount %.48q: %w", text, ErrFormat)
	}
	return Parse(text + Denom)
}

func digits(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return text != ""
}

// String writes HPIPS with all six decimals and no unit.
func (a Amount) String() string { return fmt.Sprintf("%d.%06d", a/Scale, a%Scale) }

// Base writes uhpips as a whole number.
func (a Amount) Base() string { return fmt.Sprintf("%d", uint64(a)) }

// Coin writes uhpips with their denomination.
func (a Amount) Coin() string { return a.Base() + Denom }

// MarshalText makes an amount a string in JSON.
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what Parse reads.
func (a *Amount) UnmarshalText(text []byte) (err error) {
	*a, err = Parse(string(text))
	return err
}
