package verify

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// coin has three owners run tasks of a program that prints one of so many things by chance, and lists who is blamed.
func coin(rng *rand.Rand, tasks, sides int) (guilty []string, disputed int) {
	var c Chance
	owners := []string{"ann", "ben", "cem"}
	for range tasks {
		rng.Shuffle(len(owners), func(i, j int) { owners[i], owners[j] = owners[j], owners[i] })
		said := [3]int{rng.IntN(sides), rng.IntN(sides), rng.IntN(sides)}
		switch { // two votes, and a third where they differ
		case said[0] == said[1]:
		case said[0] == said[2]:
			guilty, disputed = append(guilty, c.Beyond([]string{owners[0], owners[2]}, []string{owners[1]})...), disputed+1
		case said[1] == said[2]:
			guilty, disputed = append(guilty, c.Beyond([]string{owners[1], owners[2]}, []string{owners[0]})...), disputed+1
		}
	}
	return guilty, disputed
}

func TestNobodyIsBlamedForChance(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, sides := range []int{2, 3, 50} {
		disputed := 0
		for range 2000 {
			guilty, n := coin(rng, 300, sides)
			if disputed += n; len(guilty) > 0 {
				t.Fatalf("of %d sides: %v are blamed", sides, guilty)
			}
		}
		if disputed == 0 {
			t.Errorf("of %d sides: nobody was odd", sides)
		}
	}
}

// Carol lies always, dan one time in four, and the program is one of chance one time in ten: they are found, and nobody else.
func TestLiarsAreBlamedAllTheSame(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var c Chance
	first := map[string]int{}
	for i := range 4000 {
		three := make([]string, 3)
		for k, at := range rng.Perm(10)[:3] {
			three[k] = fmt.Sprintf("owner %d", at)
		}
		liar := slices.IndexFunc(three, func(o string) bool { return o == "owner 0" || o == "owner 1" && rng.IntN(4) == 0 })
		if liar < 0 && rng.IntN(10) == 0 {
			liar = rng.IntN(3)
		}
		if liar < 0 {
			continue
		}
		for _, guilty := range c.Beyond(slices.Concat(three[:liar], three[liar+1:]), three[liar:liar+1]) {
			if first[guilty] == 0 {
				first[guilty] = i + 1
			}
		}
	}
	if first["owner 0"] == 0 || first["owner 1"] == 0 || len(first) != 2 {
		t.Fatalf("blamed for the first time in task %v", first)
	}
}

func TestHowOftenIsBeyondChance(t *testing.T) {
	var c Chance
	for n := 1; n <= 40; n++ {
		if got := c.Beyond([]string{"ann", "ben"}, []string{"carol"}); (len(got) > 0) != (n >= 19) {
			t.Fatalf("after %d tasks in a row: %v", n, got)
		}
	}
	if got := c.Beyond([]string{"carol", "ben"}, []string{"ann"}); got != nil {
		t.Errorf("ann was odd once: %v", got)
	}
	if got := c.Beyond([]string{"carol"}, nil); got != nil {
		t.Errorf("nobody was odd: %v", got)
	}
}
