package chain_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"cosmossdk.io/math"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/gogoproto/proto"

	"github.com/hpips/hpips/chain/chaintest"
)

// ourMessages are the names of all messages of ours.
func ourMessages(d *desk) []string {
	all := slices.DeleteFunc(d.app.Codec().Registry.ListImplementations(sdk.MsgInterfaceProtoName), func(url string) bool { return !strings.HasPrefix(url, "/hpips.") })
	slices.Sort(all)
	return all
}

// filled puts something into everything that a message has: alice's address as each text, keys of 32 bytes, and five of all that is counted.
func filled(v reflect.Value, address string) {
	switch {
	case v.Type() == reflect.TypeFor[math.Int]():
		v.Set(reflect.ValueOf(math.NewInt(5)))
		return
	case !v.CanSet():
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(address)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(5)
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(5)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(strings.Repeat("k", 32)))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		filled(v.Index(0), address)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		filled(v.Elem(), address)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				filled(v.Field(i), address)
			}
		}
	}
}

// FuzzMessages runs any message of ours as alice's, whatever it holds. It is done, or refused by a code that somebody registered; nothing panics.
func FuzzMessages(f *testing.F) {
	d := newDesk(f)
	d.block()
	kinds := ourMessages(d)
	if len(kinds) < 20 {
		f.Fatalf("our messages are %v", kinds)
	}
	for i, url := range kinds {
		m, err := d.app.Codec().Registry.Resolve(url)
		if err != nil {
			f.Fatal(err)
		}
		filled(reflect.ValueOf(m).Elem(), d.alice.Address())
		text, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), text)
		f.Add(uint8(i), []byte{})
		f.Add(uint8(i), text[:len(text)/2])
	}
	f.Fuzz(func(t *testing.T, which uint8, text []byte) {
		d := *d
		d.t = t
		url := kinds[int(which)%len(kinds)]
		m, err := d.app.Codec().Registry.Resolve(url)
		if err != nil {
			t.Fatal(err)
		}
		if proto.Unmarshal(text, m) != nil {
			return
		}
		tx, err := chaintest.Sign(d.app.Codec(), d.alice, chaintest.Envelope{ChainID: testChain, Account: aliceAccount}, m)
		if err != nil {
			return // nobody could have signed it
		}
		res, err := d.finalizeAnew(d.prepare(tx))
		if err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		if r := res.TxResults[len(res.TxResults)-1]; r.Code != 0 {
			refused(t, url, r.Codespace, r.Code, r.Log)
		}
	})
}
