package auditor

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// seen is how many sandboxes were opened, and how many of them stand still.
func (m *machine) seen() (opened, still int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.opened), m.still
}

// examines has carol examine a statement, which takes a minute, beside the story.
func (c *carol) examines(e *Examiner) <-chan error {
	c.machine.wait = func(ctx context.Context) {
		select {
		case <-time.After(time.Minute):
		case <-ctx.Done():
		}
	}
	over := make(chan error, 1)
	go func() {
		_, err := e.Examine(c.t.Context(), c.statement(), []Rule{At(1)})
		over <- err
	}()
	synctest.Wait()
	return over
}

func (c *carol) holds(on bool) {
	c.t.Helper()
	if err := c.Hold(on); err != nil {
		c.t.Fatal(err)
	}
	synctest.Wait()
}

// Carol comes back to her PC: what runs stands still, and goes on when she leaves.
func TestAnExaminationStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := sits(t)
		over := c.examines(c.Within(1 << 40))
		if opened, still := c.machine.seen(); opened != 1 || still != 0 {
			t.Fatalf("%d opened, %d still", opened, still)
		}
		c.holds(true)
		c.holds(true)
		if _, still := c.machine.seen(); still != 1 {
			t.Errorf("%d stand still", still)
		}
		c.holds(false)
		if _, still := c.machine.seen(); still != 0 {
			t.Errorf("%d stand still", still)
		}
		if err := <-over; err != nil {
			t.Error(err)
		}
		c.leavesNothing()
	})
}

// While she is there none is begun; one that was being prepared is prepared anew when she leaves.
func TestNoExaminationIsBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := sits(t)
		c.holds(true)
		over := c.examines(c.Examiner)
		if opened, _ := c.machine.seen(); opened != 0 {
			t.Errorf("%d were opened", opened)
		}
		c.holds(false)
		if opened, still := c.machine.seen(); opened != 1 || still != 0 {
			t.Errorf("%d opened, %d still", opened, still)
		}
		if err := <-over; err != nil {
			t.Error(err)
		}
		slow := c.statement()
		slow.Work.Module = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy" // nobody has it
		lost := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, err := c.Examine(ctx, slow, nil); lost <- err }()
		synctest.Wait()
		c.holds(true) // it is given up for now
		c.holds(false)
		select {
		case err := <-lost:
			t.Errorf("it is not tried anew: %v", err)
		default:
		}
		cancel()
		if err := <-lost; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		c.leavesNothing()
	})
}

// An examiner that does not wait gives up what runs, and says at once that it has no answer.
func TestAnExaminerThatDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := sits(t)
		over, began := c.examines(c.AtOnce()), time.Now()
		c.holds(true)
		if err := <-over; !errors.Is(err, ErrNoAnswer) || !errors.Is(err, errHeld) || time.Since(began) > 0 {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		if _, err := c.AtOnce().Examine(t.Context(), c.statement(), nil); !errors.Is(err, ErrNoAnswer) || !errors.Is(err, errHeld) {
			t.Error(err)
		}
		c.holds(false)
		if err := <-c.examines(c.AtOnce()); err != nil {
			t.Error(err)
		}
		c.leavesNothing()
	})
}
