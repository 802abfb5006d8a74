package verify

import "math"

// Chance counts who was odd in tasks of a program that nothing makes repeat itself, as a native one that reads a clock, random bytes, or adds up in the order in which
// its threads come. Where such a program differs from itself, everybody who ran a task is odd as likely as anybody else who ran it: that is nobody's fault. Who lies
// is odd again and again. The zero value is ready to use.
type Chance struct {
	lots map[string]lot
}

// lot is what a node had in tasks about which there was no agreement.
type lot struct {
	tasks, odd float64 // that it voted on; in which it was odd
	share      float64 // in which it would have been by chance: the part of the votes that were odd, summed up over the tasks
}

// certain is ln(10⁹): chance alone comes to it once in 10⁹ times for one node and one number of tasks. As each task is looked at anew, and each node, that is some
// once in 10⁵ jobs of a million tasks at the worst.
const certain = 20.7

// Beyond takes in a task whose votes were not all alike: the nodes that were right and those that were odd. It lists those of the odd that chance does not explain any
// more: some twenty tasks in a row, where of three votes one is odd.
func (c *Chance) Beyond(right, odd []string) (guilty []string) {
	if len(odd) == 0 {
		return nil
	}
	if c.lots == nil {
		c.lots = map[string]lot{}
	}
	share := float64(len(odd)) / float64(len(odd)+len(right))
	for _, node := range right {
		l := c.lots[node]
		l.tasks, l.share = l.tasks+1, l.share+share
		c.lots[node] = l
	}
	for _, node := range odd {
		l := c.lots[node]
		l.tasks, l.share, l.odd = l.tasks+1, l.share+share, l.odd+1
		if c.lots[node] = l; l.unlikely() >= certain {
			guilty = append(guilty, node)
		}
	}
	return guilty
}

// unlikely is −ln of a bound on the probability to be odd so often by chance: n·KL(k/n ‖ p), which holds for a sum of independent events of mean probability p, whatever
// each one's is (Hoeffding 1963, theorem 1).
func (l lot) unlikely() float64 {
	p, rate := l.share/l.tasks, l.odd/l.tasks
	if rate <= p || p <= 0 || p >= 1 {
		return 0
	}
	sum := l.odd * math.Log(rate/p)
	if rate < 1 {
		sum += (l.tasks - l.odd) * math.Log((1-rate)/(1-p))
	}
	return sum
}
