//! Bar charts as SVG, written by hand: no fonts, no scripts, readable in any browser.

use std::fmt::Write;

/// Groups of bars, one bar for each series in each group, with whiskers from least to greatest.
#[derive(Debug)]
pub struct BarChart {
    /// What stands above it.
    pub title: String,
    /// What the height means.
    pub unit: String,
    /// The series, in the order of the bars.
    pub series: Vec<String>,
    /// The groups, left to right.
    pub groups: Vec<Group>,
    /// Whether heights are logarithms.
    pub logarithmic: bool,
}

/// Bars that stand together.
#[derive(Debug)]
pub struct Group {
    /// What stands below it.
    pub label: String,
    /// One for each series, or none where nothing was measured.
    pub bars: Vec<Option<Bar>>,
}

/// One bar.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    /// Its height.
    pub value: f64,
    /// The lower end of its whisker.
    pub min: f64,
    /// The upper end.
    pub max: f64,
}

impl From<&super::spread::Spread> for Bar {
    fn from(spread: &super::spread::Spread) -> Self {
        Bar { value: spread.median, min: spread.min, max: spread.max }
    }
}

impl Bar {
    /// Without whisker.
    pub fn plain(value: f64) -> Self {
        Self { value, min: value, max: value }
    }
}

/// Okabe and Ito's colours, which people who see colours differently tell apart.
const COLOURS: [&str; 7] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999"];
const WIDTH: f64 = 900.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 50.0;
const PLOT_HEIGHT: f64 = 300.0;
const BOTTOM: f64 = TOP + PLOT_HEIGHT;
const LEGEND_LINE: f64 = 20.0;
const PER_LEGEND_LINE: usize = 3;

impl BarChart {
    /// The whole SVG document.
    pub fn to_svg(&self) -> String {
        let legend_lines = self.series.len().div_ceil(PER_LEGEND_LINE);
        let height = BOTTOM + 45.0 + legend_lines as f64 * LEGEND_LINE;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        text(&mut svg, (WIDTH / 2.0, 20.0), "middle", &self.title);
        text(&mut svg, (LEFT, 40.0), "end", &self.unit);
        self.draw_axis(&mut svg);
        self.draw_groups(&mut svg);
        self.draw_legend(&mut svg);
        svg.push_str("</svg>\n");
        svg
    }

    fn bars(&self) -> impl Iterator<Item = &Bar> {
        self.groups.iter().flat_map(|group| group.bars.iter().flatten())
    }

    /// The least and greatest height shown.
    fn range(&self) -> (f64, f64) {
        let most = self.bars().map(|bar| bar.max).fold(f64::MIN_POSITIVE, f64::max);
        if !self.logarithmic {
            return (0.0, most * 1.05);
        }
        let least = self.bars().map(|bar| bar.min).filter(|min| *min > 0.0).fold(most, f64::min);
        (10_f64.powf(least.log10().floor()), 10_f64.powf(most.log10().ceil()))
    }

    fn y(&self, value: f64) -> f64 {
        let (low, high) = self.range();
        let share = if self.logarithmic {
            (value.max(low).log10() - low.log10()) / (high.log10() - low.log10()).max(f64::MIN_POSITIVE)
        } else {
            (value - low) / (high - low)
        };
        BOTTOM - share.clamp(0.0, 1.0) * PLOT_HEIGHT
    }

    fn ticks(&self) -> Vec<f64> {
        let (low, high) = self.range();
        if self.logarithmic {
            let exponents = low.log10().round() as i32..=high.log10().round() as i32;
            return exponents.map(|exponent| 10_f64.powi(exponent)).collect();
        }
        let rough = high / 5.0;
        let unit = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * unit).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(unit * 10.0);
        (0..=5).map(|tick| f64::from(tick) * step).filter(|tick| *tick <= high).collect()
    }

    fn draw_axis(&self, svg: &mut String) {
        for tick in self.ticks() {
            let y = self.y(tick);
            let right = WIDTH - 20.0;
            let _ = writeln!(svg, "<path d=\"M{LEFT:.0} {y:.1}H{right:.0}\" stroke=\"#ddd\"/>");
            text(svg, (LEFT - 6.0, y + 4.0), "end", &number(tick));
        }
    }

    fn draw_groups(&self, svg: &mut String) {
        let group_width = (WIDTH - LEFT - 20.0) / self.groups.len().max(1) as f64;
        let bar_width = group_width * 0.8 / self.series.len().max(1) as f64;
        for (number, group) in self.groups.iter().enumerate() {
            let left = LEFT + number as f64 * group_width + group_width * 0.1;
            text(svg, (left + group_width * 0.4, BOTTOM + 18.0), "middle", &group.label);
            for (series, bar) in group.bars.iter().enumerate() {
                let Some(bar) = bar else { continue };
                self.draw_bar(svg, left + series as f64 * bar_width, bar_width, series, bar);
            }
        }
    }

    fn draw_bar(&self, svg: &mut String, x: f64, width: f64, series: usize, bar: &Bar) {
        let (top, colour) = (self.y(bar.value), COLOURS[series % COLOURS.len()]);
        let (drawn, height, middle) = (width * 0.9, BOTTOM - top, x + width * 0.45);
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{drawn:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
        );
        if bar.max > bar.min {
            let (low, high) = (self.y(bar.min), self.y(bar.max));
            let _ = writeln!(svg, "<path d=\"M{middle:.1} {low:.1}V{high:.1}\" stroke=\"black\"/>");
        }
        let above = self.y(bar.max) - 4.0;
        let _ = writeln!(
            svg,
            "<text x=\"{middle:.1}\" y=\"{above:.1}\" text-anchor=\"middle\" font-size=\"9\">{}</text>",
            number_short(bar.value)
        );
    }

    fn draw_legend(&self, svg: &mut String) {
        let column = (WIDTH - LEFT) / PER_LEGEND_LINE as f64;
        for (series, name) in self.series.iter().enumerate() {
            let x = LEFT + (series % PER_LEGEND_LINE) as f64 * column;
            let y = BOTTOM + 45.0 + (series / PER_LEGEND_LINE) as f64 * LEGEND_LINE;
            let colour = COLOURS[series % COLOURS.len()];
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.0}\" y=\"{:.0}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>",
                y - 10.0
            );
            text(svg, (x + 18.0, y), "start", name);
        }
    }
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>");
}

fn number(value: f64) -> String {
    if value >= 1.0 || value == 0.0 { format!("{value:.0}") } else { format!("{value}") }
}

fn number_short(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(logarithmic: bool) -> BarChart {
        BarChart {
            title: "a < b".to_owned(),
            unit: "us".to_owned(),
            series: vec!["one".to_owned(), "two".to_owned()],
            groups: vec![Group { label: "g".to_owned(), bars: vec![Some(Bar::plain(10.0)), None] }],
            logarithmic,
        }
    }

    #[test]
    fn text_is_escaped_and_missing_bars_are_left_out() {
        let svg = chart(false).to_svg();
        assert!(svg.contains("a &lt; b"));
        // Background, one bar, two colours of the legend.
        assert_eq!(svg.matches("<rect").count(), 4);
    }

    #[test]
    fn heights_grow_with_values() {
        for logarithmic in [false, true] {
            let mut chart = chart(logarithmic);
            chart.groups[0].bars[1] = Some(Bar::plain(100.0));
            assert!(chart.y(10.0) > chart.y(20.0) && chart.y(20.0) > chart.y(100.0));
        }
    }
}
