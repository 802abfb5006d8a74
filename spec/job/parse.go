package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// MaxSpec is the largest specification that Parse reads, in bytes.
const MaxSpec = 4 << 20

// maxMatrixValues is the largest number of values that a matrix may list, ranges written out, so that a short text cannot fill the memory.
const maxMatrixValues = 1 << 20

// Parse reads one specification, YAML or JSON, strictly: an unknown field, a wrong type, a repeated key or a second document is an *Error with
// its line. Defaults are not filled in and nothing is checked beyond the shape; see Filled and Check.
func Parse(text []byte) (Spec, error) {
	if len(text) > MaxSpec {
		return Spec{}, &Error{Field: "file", Text: fmt.Sprintf("is larger than %d bytes", MaxSpec), Hint: "keep data in the store and name its address"}
	}
	var doc yaml.Node
	dec := yaml.NewDecoder(strings.NewReader(string(text)))
	if err := dec.Decode(&doc); err != nil {
		return Spec{}, &Error{Field: "file", Text: "is neither YAML nor JSON: " + err.Error(), Hint: "see examples/*/job.yaml"}
	}
	if err := dec.Decode(&yaml.Node{}); err == nil {
		return Spec{}, &Error{Field: "file", Text: "holds more than one document", Hint: "put each job into a file of its own"}
	}
	var s Spec
	if err := fill(doc.Content[0], reflect.ValueOf(&s).Elem(), ""); err != nil {
		return Spec{}, err
	}
	return s, nil
}

// fill sets v from node n; field is the dotted path to it.
func fill(n *yaml.Node, v reflect.Value, field string) *Error {
	if n.Kind == yaml.AliasNode {
		return &Error{Line: n.Line, Field: orElse(field, "file"), Text: "aliases are not read", Hint: "write the value out"}
	}
	switch target := v.Addr().Interface().(type) {
	case *OrderedMap:
		return fillMatrix(n, target, field)
	case *Size, *Duration:
		return fillUnit(n, v.Addr().Interface().(json.Unmarshaler), field)
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return fill(n, v.Elem(), field)
	case reflect.Struct:
		return fillStruct(n, v, field)
	case reflect.Slice:
		return fillList(n, v, field)
	case reflect.Map:
		return fillMap(n, v, field)
	}
	return fillScalar(n, v, field)
}

func fillStruct(n *yaml.Node, v reflect.Value, field string) *Error {
	if n.Kind != yaml.MappingNode {
		return wrongType(n, field, "a group of fields")
	}
	known := fieldNames(v.Type())
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		path := join(field, key.Value)
		index, ok := known[key.Value]
		if !ok {
			return &Error{Line: key.Line, Field: path, Text: "unknown field", Hint: nearest(key.Value, known)}
		}
		if seen[key.Value] {
			return &Error{Line: key.Line, Field: path, Text: "is given twice", Hint: "keep one of them"}
		}
		seen[key.Value] = true
		if err := fill(n.Content[i+1], v.Field(index), path); err != nil {
			return err
		}
	}
	return nil
}

func fillList(n *yaml.Node, v reflect.Value, field string) *Error {
	if n.Kind != yaml.SequenceNode {
		return wrongType(n, field, "a list")
	}
	for i, item := range n.Content {
		e := reflect.New(v.Type().Elem()).Elem()
		if err := fill(item, e, fmt.Sprintf("%s[%d]", field, i)); err != nil {
			return err
		}
		v.Set(reflect.Append(v, e))
	}
	return nil
}

func fillMap(n *yaml.Node, v reflect.Value, field string) *Error {
	if n.Kind != yaml.MappingNode {
		return wrongType(n, field, "a group of names and values")
	}
	v.Set(reflect.MakeMap(v.Type()))
	for i := 0; i < len(n.Content); i += 2 {
		e := reflect.New(v.Type().Elem()).Elem()
		if err := fill(n.Content[i+1], e, join(field, n.Content[i].Value)); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(n.Content[i].Value), e)
	}
	return nil
}

func fillScalar(n *yaml.Node, v reflect.Value, field string) *Error {
	if n.Kind != yaml.ScalarNode {
		return wrongType(n, field, "a single value")
	}
	switch v.Kind() {
	case reflect.String:
		if n.Tag == "!!null" {
			return wrongType(n, field, "text")
		}
		v.SetString(n.Value)
	case reflect.Int, reflect.Int64:
		i, err := strconv.ParseInt(n.Value, 10, 64)
		if err != nil || n.Tag != "!!int" {
			return wrongType(n, field, "a whole number")
		}
		v.SetInt(i)
	case reflect.Float64:
		f, err := strconv.ParseFloat(n.Value, 64)
		if err != nil {
			return wrongType(n, field, "a number")
		}
		v.SetFloat(f)
	default:
		return wrongType(n, field, "another type than "+v.Kind().String())
	}
	return nil
}

func fillUnit(n *yaml.Node, u json.Unmarshaler, field string) *Error {
	if n.Kind != yaml.ScalarNode {
		return wrongType(n, field, "a number with a unit")
	}
	if err := u.UnmarshalJSON([]byte(strconv.Quote(n.Value))); err != nil {
		return &Error{Line: n.Line, Field: field, Text: err.Error(), Hint: "sizes read 64MiB, durations 30s"}
	}
	return nil
}

// fillMatrix reads {name: [v, v, "a..b"], …} and sorts the axes by name.
func fillMatrix(n *yaml.Node, m *OrderedMap, field string) *Error {
	if n.Kind != yaml.MappingNode {
		return wrongType(n, field, "names with lists of values")
	}
	total := 0
	for i := 0; i < len(n.Content); i += 2 {
		name, list := n.Content[i], n.Content[i+1]
		axis := Axis{Name: name.Value}
		items := list.Content
		if list.Kind == yaml.ScalarNode {
			items = []*yaml.Node{list}
		} else if list.Kind != yaml.SequenceNode {
			return wrongType(list, join(field, name.Value), "a list of values")
		}
		for _, item := range items {
			values, err := ExpandRange(item.Value)
			if err != nil || item.Kind != yaml.ScalarNode {
				return &Error{Line: item.Line, Field: join(field, name.Value), Text: fmt.Sprintf("%q is not a value or a range", item.Value), Hint: "1..100"}
			}
			if total += len(values); total > maxMatrixValues {
				return &Error{Line: item.Line, Field: field, Text: "lists too many values", Hint: fmt.Sprintf("%d at most; count: N takes more tasks", maxMatrixValues)}
			}
			axis.Values = append(axis.Values, values...)
		}
		if slices.ContainsFunc(*m, func(a Axis) bool { return a.Name == axis.Name }) {
			return &Error{Line: name.Line, Field: join(field, name.Value), Text: "is given twice", Hint: "keep one of them"}
		}
		*m = append(*m, axis)
	}
	slices.SortFunc(*m, func(a, b Axis) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// ExpandRange turns "3..5" into 3, 4, 5 and any other text into itself.
func ExpandRange(s string) ([]string, error) {
	from, to, isRange := strings.Cut(s, "..")
	a, errA := strconv.Atoi(from)
	b, errB := strconv.Atoi(to)
	if !isRange || errA != nil || errB != nil {
		return []string{s}, nil
	}
	if b < a || b-a >= maxMatrixValues {
		return nil, errors.New("range is empty or too long")
	}
	values := make([]string, 0, b-a+1)
	for i := a; i <= b; i++ {
		values = append(values, strconv.Itoa(i))
	}
	return values, nil
}

func wrongType(n *yaml.Node, field, want string) *Error {
	got := map[yaml.Kind]string{yaml.MappingNode: "a group of fields", yaml.SequenceNode: "a list"}[n.Kind]
	if n.Kind == yaml.ScalarNode {
		got = strconv.Quote(n.Value)
	}
	return &Error{Line: n.Line, Field: orElse(field, "file"), Text: "wrong type: got " + got, Hint: "this field wants " + want}
}

func join(field, name string) string {
	if name == "" {
		name = `""`
	}
	if field == "" {
		return name
	}
	return field + "." + name
}

// fieldNames maps the names of a struct's fields, as written in a file, to their places.
func fieldNames(t reflect.Type) map[string]int {
	names := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names[name] = i
	}
	return names
}

// nearest is the hint for an unknown name: the known one with the fewest edits, or all of them.
func nearest(name string, known map[string]int) string {
	names := make([]string, 0, len(known))
	for k := range known {
		names = append(names, k)
	}
	slices.Sort(names)
	best, least := "", 4
	for _, k := range names {
		if d := edits(strings.ToLower(name), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "known fields here: " + strings.Join(names, ", ")
}

// edits is the Levenshtein distance (V. Levenshtein, 1966), by rows.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
