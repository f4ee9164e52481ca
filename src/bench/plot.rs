//! The curve as a picture: SVG that needs nothing else.

use super::curve::Point;
use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
/// Room for what is written beside the axes: left, right, top, bottom.
const MARGINS: [f64; 4] = [60.0, 20.0, 40.0, 50.0];

/// Cost a packet over the number of calls, the calls on a logarithmic axis, the cost from 0 on.
pub(super) fn draw(points: &[Point], packets_per_s: f64) -> String {
    let frame = Frame::around(points);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    let middle = WIDTH / 2.0;
    text(
        &mut out,
        middle,
        22.0,
        "middle",
        &format!("CPU of one packet, {packets_per_s:.0} packets a second in all"),
    );
    text(&mut out, middle, HEIGHT - 10.0, "middle", "calls that are up");
    for step in 0..=frame.top as u32 {
        let y = frame.y(f64::from(step));
        line(&mut out, (MARGINS[0], y), (WIDTH - MARGINS[1], y), "#ddd");
        text(&mut out, MARGINS[0] - 8.0, y + 4.0, "end", &format!("{step} us"));
    }
    for point in points {
        let x = frame.x(point);
        text(&mut out, x, HEIGHT - MARGINS[3] + 18.0, "middle", &point.calls.to_string());
    }
    curve(&mut out, &frame, points);
    out + "</svg>\n"
}

fn curve(out: &mut String, frame: &Frame, points: &[Point]) {
    let place = |point: &Point| (frame.x(point), frame.y(point.cpu_us_per_packet));
    for (from, to) in points.iter().zip(points.iter().skip(1)) {
        line(out, place(from), place(to), "#1660a8");
    }
    for point in points {
        let (x, y) = place(point);
        add(out, format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"#1660a8\"/>"));
        text(out, x, y - 10.0, "middle", &format!("{:.2}", point.cpu_us_per_packet));
    }
}

/// From figures to places.
struct Frame {
    first: f64,
    last: f64,
    top: f64,
}

impl Frame {
    fn around(points: &[Point]) -> Self {
        let calls = || points.iter().map(|point| f64::from(point.calls).ln());
        let most = points.iter().map(|point| point.cpu_us_per_packet).fold(0.0, f64::max);
        Self {
            first: calls().fold(f64::INFINITY, f64::min),
            last: calls().fold(0.0, f64::max),
            top: (most * 1.2).ceil().max(1.0),
        }
    }

    fn x(&self, point: &Point) -> f64 {
        let share =
            (f64::from(point.calls).ln() - self.first) / (self.last - self.first).max(f64::MIN_POSITIVE);
        MARGINS[0] + 30.0 + share * (WIDTH - MARGINS[0] - MARGINS[1] - 60.0)
    }

    fn y(&self, cost: f64) -> f64 {
        HEIGHT - MARGINS[3] - cost / self.top * (HEIGHT - MARGINS[2] - MARGINS[3])
    }
}

fn line(out: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let ((x1, y1), (x2, y2)) = (from, to);
    add(
        out,
        format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        ),
    );
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    add(out, format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"));
}

fn add(out: &mut String, element: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{element}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_drawn_inside() {
        let point = |calls, cost| Point { calls, cpu_us_per_packet: cost, p99_us: 0.0 };
        let points = [point(100, 5.0), point(8_000, 6.5)];
        let frame = Frame::around(&points);
        for point in &points {
            assert!((MARGINS[0]..WIDTH).contains(&frame.x(point)));
            assert!((MARGINS[2]..HEIGHT).contains(&frame.y(point.cpu_us_per_packet)));
        }
        let drawn = draw(&points, 1_000.0);
        assert_eq!(drawn.matches("<circle").count(), 2);
        assert!(drawn.starts_with("<svg") && drawn.ends_with("</svg>\n") && !drawn.contains("NaN"));
        assert!(!draw(&points[..1], 1.0).contains("NaN"));
    }
}
