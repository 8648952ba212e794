package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// A budget is a bound of our figure, or of its ratio to the peer's.
type budget struct {
	bound   float64
	ofRatio bool
	isLeast bool // what is less is over it
}

type row struct {
	name    string
	unit    string
	figures [nSides]float64 // NaN: can't be measured there
	budgets []budget
}

// Another build of ours has done the same work.
const sameWorkMax = 1.05

type table struct {
	rows []row
}

func (r row) ratio() float64 { return r.figures[ours] / r.figures[theirs] }

// Figures are judged as they are printed, so that a table never says "3.00, over 3".
func (r row) isOver(limit budget) bool {
	judged := r.figures[ours]
	if limit.ofRatio {
		judged = r.ratio()
	}
	judged, bound := math.Round(judged*100)/100, math.Round(limit.bound*100)/100
	if limit.isLeast {
		return !(judged >= bound)
	}
	return !(judged <= bound)
}

func (r row) verdict() string {
	var said []string
	for _, limit := range r.budgets {
		how := "at most"
		if limit.isLeast {
			how = "at least"
		}
		text := fmt.Sprintf("%s %s", how, figure(limit.bound))
		if limit.ofRatio {
			text = fmt.Sprintf("ratio %s %.2f", how, limit.bound)
		}
		if r.isOver(limit) {
			text = "OVER  " + text
		} else {
			text = "ok    " + text
		}
		said = append(said, text)
	}
	return strings.Join(said, "; ")
}

func figure(f float64) string {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return "-"
	case math.Abs(f) >= 1000 || f == math.Trunc(f) && f != 0:
		return fmt.Sprintf("%.0f", f)
	default:
		return fmt.Sprintf("%.2f", f)
	}
}

// addAlone is for what no peer does.
func (t *table) addAlone(name, unit string, figure float64, limits ...budget) {
	t.add(name, unit, [nSides]float64{figure, math.NaN()}, limits...)
}

func (t *table) add(name, unit string, figures [nSides]float64, limits ...budget) {
	t.rows = append(t.rows, row{name, unit, figures, limits})
}

// compare is for what both plugins do. Of another build of ours none may be worse; bounds of ratios are
// for peers of another kind.
func (b *bench) compare(name, unit string, figures [nSides]float64, limits ...budget) {
	if b.isPeerOurs {
		limits = slices.DeleteFunc(limits, func(limit budget) bool { return limit.ofRatio })
		same := budget{bound: sameWorkMax, ofRatio: true}
		if strings.HasSuffix(unit, "/s") {
			same = budget{bound: 1 / sameWorkMax, ofRatio: true, isLeast: true}
		}
		limits = append(limits, same)
	}
	b.table.add(name, unit, figures, limits...)
}

func (t *table) isOver() bool {
	for _, r := range t.rows {
		if slices.ContainsFunc(r.budgets, r.isOver) {
			return true
		}
	}
	return false
}

func (t *table) print() {
	const line = "%-48s %-8s %9s %9s %6s  %s\n"
	fmt.Printf(line, "", "", "ours", "peer", "ratio", "")
	for _, r := range t.rows {
		fmt.Printf(line, r.name, r.unit, figure(r.figures[ours]), figure(r.figures[theirs]),
			figure(r.ratio()), r.verdict())
	}
}
