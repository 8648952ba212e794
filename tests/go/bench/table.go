package main

import (
	"fmt"
	"math"
)

// A budget is a bound of our figure, or of its ratio to the peer's.
type budget struct {
	max     float64
	ofRatio bool
}

type row struct {
	name    string
	unit    string
	figures [nSides]float64 // NaN: can't be measured there
	budget  *budget
}

type table struct {
	rows []row
}

func (r row) ratio() float64 { return r.figures[ours] / r.figures[theirs] }

// Figures are judged as they are printed, so that a table never says "3.00, over 3".
func (r row) isOver() bool {
	if r.budget == nil {
		return false
	}
	judged := r.figures[ours]
	if r.budget.ofRatio {
		judged = r.ratio()
	}
	return !(math.Round(judged*100)/100 <= math.Round(r.budget.max*100)/100)
}

func (r row) verdict() string {
	if r.budget == nil {
		return ""
	}
	bound := fmt.Sprintf("at most %s", figure(r.budget.max))
	if r.budget.ofRatio {
		bound = fmt.Sprintf("ratio at most %.2f", r.budget.max)
	}
	if r.isOver() {
		return "OVER  " + bound
	}
	return "ok    " + bound
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
func (t *table) addAlone(name, unit string, figure float64, limit *budget) {
	t.add(name, unit, [nSides]float64{figure, math.NaN()}, limit)
}

func (t *table) add(name, unit string, figures [nSides]float64, limit *budget) {
	t.rows = append(t.rows, row{name, unit, figures, limit})
}

func (t *table) isOver() bool {
	for _, r := range t.rows {
		if r.isOver() {
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
