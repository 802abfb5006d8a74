package machine

import (
	"fmt"
	"os"
	"testing"
)

func TestANameIsTakenOnce(t *testing.T) {
	name := fmt.Sprint("test-", os.Getpid())
	release, ok := Alone(name)
	if !ok {
		t.Fatal("a free name is not given")
	}
	if _, ok := Alone(name); ok {
		t.Error("it is given twice")
	}
	if other, ok := Alone(name + "x"); !ok {
		t.Error("another name is not given")
	} else {
		other()
	}
	release()
	again, ok := Alone(name)
	if !ok {
		t.Fatal("a name that was released is not given")
	}
	again()
}
