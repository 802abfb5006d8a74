package job

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestDefaultsOfVerify(t *testing.T) {
	judge := &Run{WASM: "judge"}
	spot := Verify{Mode: Jury, Copies: 1, Rate: 0.05, Limit: 7}
	rows := []struct {
		spec Spec
		want Verify
	}{
		{Spec{Kind: Batch}, Verify{Mode: None}},
		{Spec{Kind: Map}, spot},
		{Spec{Kind: Map, Verify: Verify{Mode: Auto}}, spot},
		{Spec{Kind: Batch, Verify: Verify{Mode: Auto}}, spot},
		{Spec{Kind: Batch, Verify: Verify{Rate: 1}}, Verify{Mode: Jury, Copies: 1, Rate: 1, Limit: 7}},
		{Spec{Kind: Map, Verify: Verify{Copies: 1}}, Verify{Mode: Jury, Copies: 1, Limit: 7}},
		{Spec{Kind: Batch, Verify: Verify{Mode: Jury}}, Verify{Mode: Jury, Copies: 1, Rate: 0.05, Limit: 7}},
		{Spec{Kind: Map, Run: Run{Native: "solver"}}, Verify{Mode: Quorum, Copies: 2, Compare: Bytes, Limit: 7}},
		{Spec{Kind: Map, Run: Run{Image: "solver"}}, Verify{Mode: Quorum, Copies: 2, Compare: Bytes, Limit: 7}},
		{Spec{Kind: Map, Verify: Verify{Check: judge}}, Verify{Mode: Check, Check: judge, Limit: 7}},
		{Spec{Kind: Batch, Verify: Verify{Check: judge}}, Verify{Mode: Check, Check: judge, Limit: 7}},
		{Spec{Kind: Map, Verify: Verify{Mode: None}}, Verify{Mode: None}},
		{Spec{Kind: Map, Verify: Verify{Mode: Quorum}}, Verify{Mode: Quorum, Copies: 2, Compare: Bytes, Limit: 7}},
		{Spec{Kind: Map, Verify: Verify{Mode: Quorum, Copies: 9}}, Verify{Mode: Quorum, Copies: 9, Compare: Bytes, Limit: 9}},
		{Spec{Kind: Batch, Verify: Verify{Copies: 2}}, Verify{Mode: Quorum, Copies: 2, Compare: Bytes, Limit: 7}},
		{Spec{Kind: Batch, Verify: Verify{Compare: JSON}}, Verify{Mode: Quorum, Copies: 2, Compare: JSON, Limit: 7}},
	}
	for _, row := range rows {
		if row.spec.Run.Native+row.spec.Run.Image == "" {
			row.spec.Run.WASM = "x"
		}
		got := row.spec.Filled()
		if !reflect.DeepEqual(got.Verify, row.want) {
			t.Errorf("%s %+v: got %+v, want %+v", row.spec.Kind, row.spec.Verify, got.Verify, row.want)
		}
		if again := got.Filled(); !reflect.DeepEqual(again, got) {
			t.Errorf("%s %+v: filled twice it is %+v", row.spec.Kind, row.spec.Verify, again.Verify)
		}
	}
}

// What a policy says twice, or to no use, is refused by the name of the field.
func TestPoliciesThatContradictThemselves(t *testing.T) {
	judge := &Run{WASM: "judge"}
	near := map[string]Tolerance{"2": {Absolute: "1e-9"}}
	rows := []struct {
		verify      Verify
		field, text string
	}{
		{Verify{Mode: "oracle"}, "verify.mode", "not known"},
		{Verify{Mode: Check}, "verify.check", "is missing"},
		{Verify{Mode: Check, Check: &Run{}}, "verify.check.wasm", "is missing"},
		{Verify{Mode: Check, Check: judge, Copies: 2}, "verify.copies", "check asks for no copies"},
		{Verify{Mode: Check, Check: judge, Rate: 0.5}, "verify.rate", "check checks no share"},
		{Verify{Mode: Jury, Check: judge}, "verify.check", "jury runs no checker"},
		{Verify{Mode: Jury, Copies: 3}, "verify.copies", "jury asks for no copies"},
		{Verify{Mode: None, Copies: 2}, "verify.copies", "none asks for no copies"},
		{Verify{Mode: None, Rate: 0.1}, "verify.rate", "none checks no share"},
		{Verify{Mode: None, Limit: 3}, "verify.limit", "none runs each task once"},
		{Verify{Mode: None, Check: judge}, "verify.check", "none runs no checker"},
		{Verify{Mode: Quorum, Copies: 1}, "verify.copies", "1 is no quorum"},
		{Verify{Mode: Quorum, Copies: 16}, "verify.copies", "16 is not possible"},
		{Verify{Mode: Quorum, Rate: 0.05}, "verify.rate", "quorum checks no share"},
		{Verify{Mode: Quorum, Limit: 32}, "verify.limit", "32 is not possible"},
		{Verify{Mode: Quorum, Compare: "looks"}, "verify.compare", "not known"},
		{Verify{Mode: Jury, Compare: Numeric}, "verify.compare", "jury compares no results"},
		{Verify{Mode: Quorum, Absolute: "0.1"}, "verify.absolute", "bytes knows no tolerance"},
		{Verify{Mode: Quorum, Compare: JSON, ULP: 2}, "verify.ulp", "json knows no tolerance"},
		{Verify{Mode: Quorum, Compare: Image, Fields: near}, "verify.fields", "image knows no tolerance"},
		{Verify{Mode: Quorum, Compare: Numeric, Distance: "1"}, "verify.distance", "numeric knows no distance"},
		{Verify{Mode: Quorum, Compare: Image, Distance: "near"}, "verify.distance", "not a number"},
		{Verify{Mode: Quorum, Compare: Numeric, Absolute: "-1"}, "verify.absolute", "not a number"},
		{Verify{Mode: Quorum, Compare: Numeric, Relative: "NaN"}, "verify.relative", "not a number"},
		{Verify{Mode: Quorum, Compare: Numeric, ULP: -1}, "verify.ulp", "not possible"},
		{Verify{Mode: Quorum, Compare: Numeric, Fields: map[string]Tolerance{"mass": {}}}, "verify.fields.mass", "neither a column"},
		{Verify{Mode: Quorum, Compare: Numeric, Fields: map[string]Tolerance{"0": {}}}, "verify.fields.0", "neither a column"},
		{Verify{Mode: Quorum, Compare: Numeric, Fields: map[string]Tolerance{"/mass": {Relative: "x"}}}, "verify.fields./mass.relative", "not a number"},
		{Verify{Mode: Quorum, Compare: Numeric, Fields: map[string]Tolerance{"1": {}, "/mass": {}}}, "verify.fields", "columns and JSON pointers"},
	}
	for _, row := range rows {
		s := Spec{Kind: Map, Run: Run{WASM: "x"}, Over: &Over{Count: 3}, Verify: row.verify}
		var bad *Error
		if err := s.Filled().Check(); !errors.As(err, &bad) || bad.Field != row.field || !strings.Contains(bad.Text, row.text) || bad.Hint == "" {
			t.Errorf("%+v: %v", row.verify, err)
		}
	}
	whole := `{kind: Map, run: {wasm: x}, over: {count: 3}, verify: {compare: numeric, absolute: 1e-9, relative: 0.001, ulp: 4, fields: {"2": {absolute: 5}}}}`
	s, err := Parse([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	want := Verify{Mode: Quorum, Copies: 2, Limit: 7, Compare: Numeric, Absolute: "1e-9", Relative: "0.001", ULP: 4, Fields: map[string]Tolerance{"2": {Absolute: "5"}}}
	if got := s.Filled(); got.Check() != nil || !reflect.DeepEqual(got.Verify, want) {
		t.Errorf("%+v, %v", got.Verify, got.Check())
	}
}
