//! The plots of the page, as SVG. Colours of text and axes come from the page, which knows whether it is dark.

use super::sample::{BUCKET, Mark};
use plotters::coord::Shift;
use plotters::prelude::*;

/// Those that are in nearly every plot, always alike; all colours are seen on white and on black.
const KNOWN: [(&str, RGBColor); 4] = [
    ("tokenferry", RGBColor(0x2f, 0x7f, 0xd8)),
    ("nginx", RGBColor(0x2c, 0xa0, 0x60)),
    ("haproxy", RGBColor(0xe0, 0x7b, 0x1f)),
    ("direct", RGBColor(0x8c, 0x8c, 0x8c)),
];
/// The others, in their order.
const OTHERS: [RGBColor; 3] = [RGBColor(0xc8, 0x4b, 0x8e), RGBColor(0x8a, 0x6f, 0xd6), RGBColor(0x1f, 0xa3, 0xb5)];
const MARK: RGBColor = RGBColor(0xd6, 0x45, 0x45);
const SIZE: (u32, u32) = (860, 340);
const LABELS: (&str, u32) = ("sans-serif", 14);
/// Up to which share of the requests latencies are shown.
const SHOWN: f64 = 0.999;

/// A name, and its points.
pub(crate) type Curve<'a> = (&'a str, Vec<(f64, f64)>);

type Problem = Box<dyn std::error::Error>;

/// Latency in microseconds over the share of requests. Both axes are logarithmic: the lower by how many requests
/// are slower, so that each step to the right is ten times rarer.
pub(crate) fn latency(curves: &[Curve<'_>]) -> Result<String, Problem> {
    let curves: Vec<Curve<'_>> = curves
        .iter()
        .map(|(name, points)| {
            let shown = points.iter().filter(|(share, us)| *share <= SHOWN && *us > 0.0);
            (*name, shown.map(|(share, us)| (rarity(*share), *us)).collect())
        })
        .collect();
    let (least, most) = bounds(curves.iter().flat_map(|(_, points)| points.iter().map(|point| point.1)));
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart =
            framed(&root).build_cartesian_2d(0.0..rarity(SHOWN) + 0.05, (least * 0.8..most * 1.3).log_scale())?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_labels(4)
            .label_style(LABELS)
            .x_label_formatter(&|rarity| percent(*rarity))
            .y_label_formatter(&|us| time(*us))
            .x_desc("share of requests that were at least as quick")
            .y_desc("latency")
            .draw()?;
        draw(&mut chart, &curves)?;
        root.present()?;
    }
    Ok(svg)
}

/// Answers a second over time, with what happened meanwhile.
pub(crate) fn throughput(curves: &[(&str, &[u64])], marks: &[Mark]) -> Result<String, Problem> {
    let curves: Vec<Curve<'_>> = curves
        .iter()
        .map(|(name, series)| {
            let point = |(bucket, answers): (usize, &u64)| ((bucket as f64 + 0.5) * BUCKET, *answers as f64 / BUCKET);
            (*name, series.iter().enumerate().map(point).collect())
        })
        .collect();
    let (_, most) = bounds(curves.iter().flat_map(|(_, points)| points.iter().map(|point| point.1)));
    let (_, end) = bounds(curves.iter().flat_map(|(_, points)| points.iter().map(|point| point.0)));
    let top = most * 1.1;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = framed(&root).build_cartesian_2d(0.0..end, 0.0..top)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .label_style(LABELS)
            .x_label_formatter(&|seconds| format!("{seconds:.*} s", if end < 2.0 { 2 } else { 1 }))
            .y_label_formatter(&|rate| format!("{rate:.0}"))
            .x_desc("time")
            .y_desc("requests/s")
            .draw()?;
        for mark in marks.iter().filter(|mark| (0.0..=end).contains(&mark.at)) {
            chart.draw_series(LineSeries::new([(mark.at, 0.0), (mark.at, top)], MARK.mix(0.5).stroke_width(2)))?;
        }
        draw(&mut chart, &curves)?;
        root.present()?;
    }
    Ok(svg)
}

/// With room for what stands at the axes.
fn framed<'a, 'b>(root: &'a DrawingArea<SVGBackend<'b>, Shift>) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut chart = ChartBuilder::on(root);
    chart.margin(12).margin_right(32).x_label_area_size(44).y_label_area_size(84);
    chart
}

fn draw<'a, DB, CT>(chart: &mut ChartContext<'a, DB, CT>, curves: &[Curve<'_>]) -> Result<(), Problem>
where
    DB: DrawingBackend + 'a,
    DB::ErrorType: 'static,
    CT: plotters::coord::CoordTranslate<From = (f64, f64)>,
{
    for (index, (name, points)) in curves.iter().enumerate() {
        let known = KNOWN.iter().find(|(known, _)| known == name).map(|(_, colour)| *colour);
        let colour = known.unwrap_or(OTHERS[index % OTHERS.len()]);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
    }
    chart.configure_series_labels().label_font(LABELS).position(SeriesLabelPosition::UpperLeft).draw()?;
    Ok(())
}

/// How many powers of ten of requests are quicker for each one that is slower: 0 at 0 %, 1 at 90 %, 3 at 99.9 %.
fn rarity(share: f64) -> f64 {
    -(1.0 - share).max(1e-9).log10()
}

fn percent(rarity: f64) -> String {
    let percent = 100.0 * (1.0 - 10_f64.powf(-rarity));
    let digits = (rarity.round() as usize).saturating_sub(2);
    format!("{percent:.digits$} %")
}

fn time(us: f64) -> String {
    match us {
        ..1000.0 => format!("{us:.0} us"),
        ..1_000_000.0 => format!("{} ms", us / 1000.0),
        _ => format!("{} s", us / 1_000_000.0),
    }
}

/// The least and the greatest; something to draw also where there is nothing.
fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (least, most) =
        values.fold((f64::INFINITY, 0.0), |(least, most): (f64, f64), value| (least.min(value), most.max(value)));
    if most > 0.0 { (least, most) } else { (1.0, 1.0) }
}
