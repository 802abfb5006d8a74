package verify

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/hpips/hpips/spec/job"
)

var exact = job.Verify{Compare: job.Numeric}

func TestNumbersThatAreTheSame(t *testing.T) {
	near := job.Verify{Compare: job.Numeric, Absolute: "1e-6"}
	rows := []struct {
		name   string
		policy job.Verify
		a, b   string
		same   bool
	}{
		{"equal text", exact, "a 1 2\n", "a 1 2\n", true},
		{"another way of writing", exact, "1.0,2e0", "1 , 2.00", true},
		{"ends of lines", exact, "1 2\r\n3 4\n\n", "1 2\n3 4", true},
		{"the last bit", exact, "0.1", "0.10000000000000002", false},
		{"one step", job.Verify{Compare: job.Numeric, ULP: 1}, "0.1", "0.10000000000000002", true},
		{"two steps", job.Verify{Compare: job.Numeric, ULP: 1}, "0.1", "0.10000000000000003", false},
		{"steps across zero", job.Verify{Compare: job.Numeric, ULP: 2}, "5e-324", "-5e-324", true},
		{"absolute", near, "1.0000001 7", "1 7.0000005", true},
		{"too far", near, "1.00001", "1", false},
		{"relative", job.Verify{Compare: job.Numeric, Relative: "0.01"}, "1000", "1009", true},
		{"relative to the larger", job.Verify{Compare: job.Numeric, Relative: "0.01"}, "1000", "1011", false},
		{"relative near zero", job.Verify{Compare: job.Numeric, Relative: "0.01"}, "0", "1e-300", false},
		{"minus zero", exact, "-0 1", "0 1", true},
		{"NaN is NaN", exact, "NaN", "nan", true},
		{"NaN is no number", near, "NaN", "0", false},
		{"infinities", exact, "Inf -inf", "+Infinity -Inf", true},
		{"infinities of both signs", near, "Inf", "-Inf", false},
		{"an infinity is not huge", job.Verify{Compare: job.Numeric, Relative: "1"}, "Inf", "1.7e308", false},
		{"huge of both signs", job.Verify{Compare: job.Numeric, Relative: "1", Absolute: "1e99"}, "1.7e308", "-1.7e308", false},
		{"subnormals", job.Verify{Compare: job.Numeric, ULP: 3}, "5e-324", "2e-323", true},
		{"subnormals far apart", job.Verify{Compare: job.Numeric, ULP: 3}, "5e-324", "1e-322", false},
		{"beyond the floats is text", near, "1e999", "1e998", false},
		{"beyond the floats and equal", near, "x 1e999 1", "x 1e999 1.0", true},
		{"a missing column", near, "1 2 3", "1 2", false},
		{"a missing cell", near, "1,,3", "1,3", false},
		{"an empty cell is itself", near, "1,,3", "1, ,3.0", true},
		{"an empty cell is not zero", near, "1,,3", "1,0,3", false},
		{"a missing line", near, "1\n2", "1\n2\n3", false},
		{"words", near, "mass 1", "Mass 1", false},
		{"a word is no number", near, "one", "1", false},
		{"a column of its own", job.Verify{Compare: job.Numeric, Fields: map[string]job.Tolerance{"2": {Absolute: "5"}}}, "1 10", "1 14", true},
		{"the others are exact", job.Verify{Compare: job.Numeric, Fields: map[string]job.Tolerance{"2": {Absolute: "5"}}}, "1 10", "2 10", false},
		{"a column may be stricter", job.Verify{Compare: job.Numeric, Absolute: "9", Fields: map[string]job.Tolerance{"2": {}}}, "1 10", "2 11", false},
		{"JSON", near, `{"a": [1, 2.0000001], "b": "x"}`, `{"b":"x","a":[1.0000002,2]}`, true},
		{"JSON of another shape", near, `{"a": [1, 2]}`, `{"a": [1]}`, false},
		{"JSON with another name", near, `{"a": 1}`, `{"b": 1}`, false},
		{"JSON with other text", near, `["1"]`, `["1.0"]`, false},
		{"JSON beyond the floats", near, `[1e999]`, `[10e998]`, true},
		{"a pointer", job.Verify{Compare: job.Numeric, Fields: map[string]job.Tolerance{"/a~1b/1": {Absolute: "1"}}}, `{"a/b": [1, 2]}`, `{"a/b": [1, 3]}`, true},
		{"beside the pointer", job.Verify{Compare: job.Numeric, Fields: map[string]job.Tolerance{"/a~1b/1": {Absolute: "1"}}}, `{"a/b": [1, 2]}`, `{"a/b": [2, 2]}`, false},
		{"it looks like JSON and is lines", near, "[ 1 2", "[ 1.0 2", true},
	}
	for _, r := range rows {
		same := NewComparator(r.policy)
		if got := same([]byte(r.a), []byte(r.b)); got != r.same {
			t.Errorf("%s: %q and %q: %v", r.name, r.a, r.b, got)
		}
		if same([]byte(r.a), []byte(r.b)) != same([]byte(r.b), []byte(r.a)) {
			t.Errorf("%s: the order matters", r.name)
		}
	}
}

func TestJSONThatIsTheSame(t *testing.T) {
	rows := []struct {
		name, a, b string
		same       bool
	}{
		{"the order of names", `{"a":1,"b":[true,null]}`, ` { "b" : [ true, null ], "a" : 1 } `, true},
		{"the order of a list", `[1,2]`, `[2,1]`, false},
		{"ways of writing a number", `[1, 100, 0.5, -0, 0e9]`, `[1.0, 1e2, 5E-1, 0, 0.0]`, true},
		{"exactly", `9007199254740993`, `9007199254740992`, false},
		{"exactly, though huge", `1e400`, `10e399`, true},
		{"huge exponents", `1e1000000000`, `1e1000000001`, false},
		{"exponents past reckoning are refused", `1e99999999999999999999`, ` 1e99999999999999999999`, false},
		{"ways of writing a text", `"\u0041\/"`, `"A/"`, true},
		{"half a surrogate pair", `"\ud800"`, `"\ud801"`, false},
		{"no UTF-8", "\"\xff\"", "\"\xfe\"", false},
		{"a name twice", `{"a":1,"a":2}`, `{"a":2,"a":1}`, false},
		{"one value after the other", "{\"a\":1}\n{\"a\":2}\n", `{"a":1} {"a":2.0}`, true},
		{"fewer of them", "1\n2", "1", false},
		{"a text is no number", `"1"`, `1`, false},
		{"a text is no word", `"true"`, `true`, false},
		{"broken", `{"a":`, ` {"a":`, false},
		{"nested past sense", strings.Repeat("[", 300) + strings.Repeat("]", 300), " " + strings.Repeat("[", 300) + strings.Repeat("]", 300), false},
	}
	same := NewComparator(job.Verify{Compare: job.JSON})
	for _, r := range rows {
		if got := same([]byte(r.a), []byte(r.b)); got != r.same {
			t.Errorf("%s: %q and %q: %v", r.name, r.a, r.b, got)
		}
		if same([]byte(r.a), []byte(r.b)) != same([]byte(r.b), []byte(r.a)) {
			t.Errorf("%s: the order matters", r.name)
		}
		if !same([]byte(r.a), []byte(r.a)) {
			t.Errorf("%s: it is not the same as itself", r.name)
		}
	}
}

// picture paints a size with one colour and writes it as PNG.
func picture(t testing.TB, w, h int, c color.Color) []byte {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		m.Set(i%w, i/w, c)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestPicturesThatAreTheSame(t *testing.T) {
	grey := func(v uint8) []byte { return picture(t, 8, 8, color.NRGBA{v, v, v, 255}) }
	clear := func(v uint8) []byte { return picture(t, 8, 8, color.NRGBA{v, v, v, 0}) }
	one := image.NewNRGBA(image.Rect(0, 0, 8, 8))
	for i := range 64 {
		one.Set(i%8, i/8, color.NRGBA{100, 100, 100, 255})
	}
	one.Set(3, 3, color.NRGBA{164, 100, 100, 255}) // 64 in one of 64 pixels is 1 on the mean
	var dot bytes.Buffer
	if err := png.Encode(&dot, one); err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		name     string
		distance job.Decimal
		a, b     []byte
		same     bool
	}{
		{"equal", "", grey(100), grey(100), true},
		{"one apart", "", grey(100), grey(101), false},
		{"one apart and allowed", "1", grey(100), grey(101), true},
		{"two apart", "1.5", grey(100), grey(102), false},
		{"one pixel", "1", grey(100), dot.Bytes(), true},
		{"one pixel too far", "0.9", grey(100), dot.Bytes(), false},
		{"what nobody sees", "", clear(10), clear(200), true},
		{"another size", "255", grey(100), picture(t, 8, 9, color.NRGBA{100, 100, 100, 255}), false},
		{"no picture", "255", grey(100), []byte("hello"), false},
		{"cut off", "255", grey(100), grey(100)[:60], false},
	}
	for _, r := range rows {
		same := NewComparator(job.Verify{Compare: job.Image, Distance: r.distance})
		if got := same(r.a, r.b); got != r.same || same(r.b, r.a) != got {
			t.Errorf("%s: %v", r.name, got)
		}
	}
}

// A few bytes must not make a picture of gigabytes.
func TestAPictureThatIsTooLarge(t *testing.T) {
	head := picture(t, 1, 1, color.White)[:33]
	copy(head[16:], []byte{0, 1, 0, 0, 0, 1, 0, 0}) // 65536 × 65536
	if _, err := parsePicture(head); err == nil {
		t.Fatal("it was taken")
	}
}

func TestWhatIsTooLongIsTheSameOnlyIfEqual(t *testing.T) {
	same := NewComparator(exact)
	long := bytes.Repeat([]byte("1 "), MaxCompared/2+1)
	other := bytes.Replace(long, []byte("1"), []byte("1.0"), 1)
	if !same(long, bytes.Clone(long)) || same(long, other) {
		t.Fatal("a content past the limit was looked into")
	}
	if NewComparator(job.Verify{Compare: job.Bytes}) != nil {
		t.Fatal("bytes are compared by their digest")
	}
}

// claims makes votes of different owners whose standard outputs are these.
func claims(texts ...string) []Vote {
	var vs []Vote
	for i, text := range texts {
		vs = append(vs, Vote{Node: fmt.Sprint("pc", i), Owner: fmt.Sprint("owner", i), Digest: sha256.Sum256([]byte(text)), Value: []byte(text)})
	}
	return vs
}

func TestTheMiddleStandsForItsNeighbours(t *testing.T) {
	p := Policy{Copies: 3, Limit: 7, Same: NewComparator(job.Verify{Compare: job.Numeric, Absolute: "1"})}
	v := Judge(p, claims("9", "10", "11"))
	if v.Accepted == nil || *v.Accepted != sha256.Sum256([]byte("10")) || len(v.Nodes) != 3 || len(v.Odd) != 0 {
		t.Fatalf("%+v: 9 and 11 are near 10, not near each other", v)
	}
	v = Judge(p, claims("9", "10", "11", "50"))
	if v.Accepted == nil || !slices.Equal(v.Odd, []string{"pc3"}) {
		t.Fatalf("%+v: who said 50 is odd", v)
	}
	if v := Judge(p, claims("9", "11")); v.Accepted != nil || v.More == 0 {
		t.Fatalf("%+v: they are two apart", v)
	}
	other := claims("10", "10.0")
	other[1].Rest[0] = 1
	if v := Judge(Policy{Copies: 2, Limit: 7, Same: p.Same}, other); v.Accepted != nil {
		t.Fatalf("%+v: they ended differently", v)
	}
	unknown := claims("10", "10.0")
	unknown[1].Value = nil
	if v := Judge(Policy{Copies: 2, Limit: 7, Same: p.Same}, unknown); v.Accepted != nil {
		t.Fatalf("%+v: what is not known here is the same as nothing else", v)
	}
}

// strange are numbers that comparisons go wrong with.
var strange = []string{"0", "-0", "1", "1.0000000000000002", "NaN", "Inf", "-Inf", "5e-324", "-5e-324", "2.2250738585072014e-308", "1.7976931348623157e308",
	"-1.7976931348623157e308", "1e999", "1e-999", "0x1p-3", "9007199254740993", "", "word"}

func policies(t *rapid.T) job.Verify {
	v := job.Verify{Compare: rapid.SampledFrom([]job.Comparison{job.JSON, job.Numeric, job.Image}).Draw(t, "compare")}
	if v.Compare == job.Numeric {
		v.Absolute = rapid.SampledFrom([]job.Decimal{"", "0", "1e-9", "2", "1e99"}).Draw(t, "absolute")
		v.Relative = rapid.SampledFrom([]job.Decimal{"", "1e-15", "0.5", "7e9"}).Draw(t, "relative")
		v.ULP = rapid.SampledFrom([]int64{0, 1, 4, 1 << 53}).Draw(t, "ulp")
		v.Fields = rapid.SampledFrom([]map[string]job.Tolerance{nil, {"2": {Absolute: "3"}}, {"/0": {ULP: 2}, "/a/1": {Relative: "1"}}}).Draw(t, "fields")
	}
	return v
}

func contents(t *rapid.T, label string) []byte {
	words := rapid.SliceOfN(rapid.SampledFrom(strange), 0, 4).Draw(t, label)
	switch rapid.IntRange(0, 3).Draw(t, label+" form") {
	case 0:
		return []byte(strings.Join(words, rapid.SampledFrom([]string{" ", ",", "\n", " , "}).Draw(t, label+" between")))
	case 1:
		return []byte("[" + strings.Join(words, ",") + "]")
	case 2:
		return []byte(`{"a":[` + strings.Join(words, ",") + `]}`)
	}
	return rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, label+" bytes")
}

func TestEveryComparisonIsSymmetricAndKnowsItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		same := NewComparator(policies(t))
		a, b := contents(t, "a"), contents(t, "b")
		if same(a, b) != same(b, a) {
			t.Fatalf("%q and %q depend on their order", a, b)
		}
		if !same(a, bytes.Clone(a)) {
			t.Fatalf("%q is not the same as itself", a)
		}
	})
}

func TestNearIsSymmetric(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		any64 := rapid.Custom(func(t *rapid.T) float64 { return math.Float64frombits(rapid.Uint64().Draw(t, "bits")) })
		a, b := any64.Draw(t, "a"), any64.Draw(t, "b")
		tol := tolerance{math.Abs(rapid.Float64().Draw(t, "absolute")), math.Abs(rapid.Float64().Draw(t, "relative")), rapid.Uint64().Draw(t, "ulp")}
		if tol.near(a, b) != tol.near(b, a) || !tol.near(a, a) {
			t.Fatalf("%v and %v within %+v", a, b, tol)
		}
		if next := math.Nextafter(a, math.Inf(1)); !math.IsNaN(a) && !math.IsInf(a, 0) && !math.IsInf(next, 0) && steps(a, next) > 1 {
			t.Fatalf("%v is %d steps from the next float", a, steps(a, next))
		}
	})
}

// TestVerdictsByToleranceDoNotDependOnOrder has owners say numbers near one another, in any order.
func TestVerdictsByToleranceDoNotDependOnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Policy{Copies: rapid.IntRange(1, 5).Draw(t, "copies"), Limit: rapid.IntRange(1, 12).Draw(t, "limit"),
			Same: NewComparator(job.Verify{Compare: job.Numeric, Absolute: rapid.SampledFrom([]job.Decimal{"0", "1", "2"}).Draw(t, "absolute")})}
		said := rapid.SliceOfN(rapid.IntRange(0, 6), 0, 10).Draw(t, "said")
		var vs []Vote
		for i, n := range said {
			text := strconv.Itoa(n)
			v := Vote{Node: fmt.Sprint("pc", i), Owner: fmt.Sprint("owner", rapid.IntRange(0, 5).Draw(t, "owner")), Digest: sha256.Sum256([]byte(text)), Value: []byte(text)}
			if rapid.IntRange(0, 9).Draw(t, "unknown") == 0 {
				v.Value = nil
			}
			vs = append(vs, v)
		}
		want := Judge(p, slices.Clone(vs))
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "shuffle"), 0))
		rng.Shuffle(len(vs), func(i, j int) { vs[i], vs[j] = vs[j], vs[i] })
		if got := Judge(p, vs); !reflect.DeepEqual(got, want) {
			t.Fatalf("shuffled: %+v, before: %+v", got, want)
		}
		if v := want; v.More == 0 && (v.Accepted != nil) == v.Undecided {
			t.Fatalf("neither or both: %+v", v)
		}
	})
}

// TestOneLiarNeverWinsByTolerance: honest machines are off by a little, carol by more than any of them may be.
func TestOneLiarNeverWinsByTolerance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Policy{Copies: rapid.IntRange(2, 4).Draw(t, "copies"), Limit: 15, Same: NewComparator(job.Verify{Compare: job.Numeric, Absolute: "2"})}
		carol := rapid.IntRange(0, 6).Draw(t, "carol's turn")
		var vs []Vote
		for v := Judge(p, vs); v.More > 0; v = Judge(p, vs) {
			for range v.More {
				n := 100 + rapid.IntRange(-1, 1).Draw(t, "noise")
				if len(vs) == carol {
					n = 100 + rapid.SampledFrom([]int{-9, 9, 4}).Draw(t, "lie")
				}
				text := strconv.Itoa(n)
				vs = append(vs, Vote{Node: fmt.Sprint("pc", len(vs)), Owner: fmt.Sprint("owner", len(vs)), Digest: sha256.Sum256([]byte(text)), Value: []byte(text)})
			}
		}
		v := Judge(p, vs)
		if v.Accepted == nil {
			t.Fatalf("no verdict: %+v", v)
		}
		for n := 99; n <= 101; n++ {
			if *v.Accepted == sha256.Sum256([]byte(strconv.Itoa(n))) {
				return
			}
		}
		t.Fatalf("the lie was accepted after %d votes", len(vs))
	})
}

// FuzzJSON holds that no text crashes the reader, and that the form of a number is one.
func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"a":[1,2.50e-3,"x\u0041",null]} 7`), []byte(`[]`))
	f.Add([]byte(`[-0.0, 1E400]`), []byte(`[0, 10e399]`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if len(a) > 1<<12 || len(b) > 1<<12 {
			return
		}
		same := NewComparator(job.Verify{Compare: job.JSON})
		if same(a, b) != same(b, a) || !same(a, bytes.Clone(a)) {
			t.Fatalf("%q and %q", a, b)
		}
		all, err := parseJSON(a)
		if err != nil {
			return
		}
		for _, v := range all {
			if v.kind != '0' {
				continue
			}
			if again, err := canonicalNumber(v.text); err != nil || again != v.text {
				t.Fatalf("%q has the form %q, which has the form %q", a, v.text, again)
			}
		}
	})
}

// FuzzNumbers holds that no text crashes the comparison of numbers, and that it is symmetric.
func FuzzNumbers(f *testing.F) {
	f.Add([]byte("1 2,,NaN\n-0"), []byte("1.0 2,,nan\n0"))
	f.Add([]byte(`{"a":[1,2]}`), []byte(`{"a":[1,2.1]}`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if len(a) > 1<<12 || len(b) > 1<<12 {
			return
		}
		same := NewComparator(job.Verify{Compare: job.Numeric, Absolute: "0.5", ULP: 3, Fields: map[string]job.Tolerance{"/a/0": {Relative: "0.1"}}})
		if same(a, b) != same(b, a) || !same(a, bytes.Clone(a)) {
			t.Fatalf("%q and %q", a, b)
		}
	})
}

// FuzzPicture holds that no bytes crash the reader of pictures, and that none is larger than it may be.
func FuzzPicture(f *testing.F) {
	f.Add(picture(f, 3, 2, color.NRGBA{1, 2, 3, 200}))
	f.Add([]byte("\x89PNG\r\n\x1a\n"))
	f.Fuzz(func(t *testing.T, a []byte) {
		p, err := parsePicture(a)
		if err != nil {
			return
		}
		if size := p.Bounds().Size(); size.X*size.Y > maxPixels {
			t.Fatalf("%v", size)
		}
		if !samePicture(a, a, 0) {
			t.Fatal("it is not the same as itself")
		}
	})
}
