package machine

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Schedule is the times of a week in which a PC is shared. An empty one is always.
type Schedule []Window

// Window is a time of some days. One that ends at or before its beginning ends on the next day.
type Window struct {
	Days     [7]bool // from Sunday, as time.Weekday
	From, To int     // minutes of the day, 0 … 1440
	text     string
}

var weekdays = [7]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// ParseSchedule reads windows such as "mon-fri 22:00-07:00", "sat,sun 00:00-24:00" or "daily 20:00-08:00".
func ParseSchedule(texts []string) (Schedule, error) {
	var s Schedule
	for _, text := range texts {
		w, err := parseWindow(text)
		if err != nil {
			return nil, fmt.Errorf("%q: %w: write it like \"mon-fri 22:00-07:00\" or \"sat,sun 00:00-24:00\"", text, err)
		}
		s = append(s, w)
	}
	return s, nil
}

// Texts are the windows as they were written.
func (s Schedule) Texts() []string {
	texts := make([]string, len(s))
	for i, w := range s {
		texts[i] = w.text
	}
	return texts
}

func parseWindow(text string) (w Window, err error) {
	w.text = text
	days, times, ok := strings.Cut(strings.ToLower(strings.TrimSpace(text)), " ")
	if !ok {
		return w, fmt.Errorf("days and times are needed")
	}
	for part := range strings.SplitSeq(days, ",") {
		if part == "daily" {
			part = "sun-sat"
		}
		first, last, span := strings.Cut(part, "-")
		from, to := weekday(first), weekday(last)
		if !span {
			to = from
		}
		if from < 0 || to < 0 {
			return w, fmt.Errorf("%q is no day", part)
		}
		for day := from; ; day = (day + 1) % 7 {
			w.Days[day] = true
			if day == to {
				break
			}
		}
	}
	from, to, ok := strings.Cut(strings.TrimSpace(times), "-")
	if !ok {
		return w, fmt.Errorf("%q is no time from and to", times)
	}
	if w.From, err = minute(from); err != nil {
		return w, err
	}
	if w.To, err = minute(to); err != nil {
		return w, err
	}
	if w.From == 24*60 {
		return w, fmt.Errorf("it begins at 24:00")
	}
	return w, nil
}

func weekday(name string) int {
	for i, day := range weekdays {
		if name == day {
			return i
		}
	}
	return -1
}

func minute(text string) (int, error) {
	h, m, ok := strings.Cut(strings.TrimSpace(text), ":")
	hours, err1 := strconv.Atoi(h)
	minutes, err2 := strconv.Atoi(m)
	if !ok || len(h) != 2 || len(m) != 2 || err1 != nil || err2 != nil || hours < 0 || minutes < 0 || minutes > 59 || hours*60+minutes > 24*60 {
		return 0, fmt.Errorf("%q is no time of day", text)
	}
	return hours*60 + minutes, nil
}

// At says whether the schedule is open at a moment, and where it is not, when it opens next. The time zone is that of now.
func (s Schedule) At(now time.Time) (open bool, next time.Time) {
	if len(s) == 0 {
		return true, time.Time{}
	}
	for _, w := range s {
		for ahead := -1; ahead <= 7; ahead++ { // a window of yesterday may go on; one of today may begin again in a week only
			day := time.Date(now.Year(), now.Month(), now.Day()+ahead, 0, 0, 0, 0, now.Location())
			if !w.Days[day.Weekday()] {
				continue
			}
			from := time.Date(day.Year(), day.Month(), day.Day(), 0, w.From, 0, 0, now.Location())
			until := w.To
			if until <= w.From {
				until += 24 * 60
			}
			to := time.Date(day.Year(), day.Month(), day.Day(), 0, until, 0, 0, now.Location())
			if !now.Before(from) && now.Before(to) {
				return true, time.Time{}
			}
			if from.After(now) && (next.IsZero() || from.Before(next)) {
				next = from
			}
		}
	}
	return false, next
}
