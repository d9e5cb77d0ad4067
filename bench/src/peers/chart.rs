//! The picture of the report: durable events a second at 64 clients, with ids in order and at random.

use std::fmt::Write;

use crate::report::figure;

/// A peer in the picture.
pub struct Bar {
    pub name: String,
    pub is_ours: bool,
    /// Events a second with ids in order.
    pub ordered: f64,
    /// Events a second with random ids.
    pub random: f64,
    /// In milliseconds, with ids in order.
    pub p99: f64,
}

const WIDTH: f64 = 760.0;
const LEFT: f64 = 200.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 64.0;
const ROW: f64 = 46.0;
const BAR: f64 = 16.0;

/// The picture, readable on a light page and on a dark one.
pub fn svg(bars: &[Bar]) -> String {
    let most = bars.iter().flat_map(|bar| [bar.ordered, bar.random]).fold(1.0, f64::max);
    let height = TOP + ROW * bars.len() as f64 + 34.0;
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title">
<title id="title">Durable events a second at 64 clients</title>
<style>
text {{ font: 13px system-ui, sans-serif; fill: #1f2328 }}
.title {{ font-size: 16px; font-weight: 600 }}
.small {{ font-size: 11px; fill: #59636e }}
.name {{ text-anchor: end }}
.ours {{ font-weight: 600 }}
.ordered {{ fill: #8c959f }} .random {{ fill: #d0d7de }}
.ours.ordered {{ fill: #0969da }} .ours.random {{ fill: #80ccff }}
@media (prefers-color-scheme: dark) {{
text {{ fill: #e6edf3 }} .small {{ fill: #9198a1 }}
.ordered {{ fill: #9198a1 }} .random {{ fill: #3d444d }}
.ours.ordered {{ fill: #4493f8 }} .ours.random {{ fill: #1f6feb }}
}}
</style>
<text class="title" x="16" y="26">Durable events a second, each stored once</text>
<text class="small" x="16" y="46">64 clients, one event a request. Upper bar: ids in order, with the p99 of a request. Lower bar: random ids.</text>
"#
    );
    for (row, bar) in bars.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let ours = if bar.is_ours { " ours" } else { "" };
        let _ = writeln!(
            svg,
            r#"<text class="name{ours}" x="{:.0}" y="{:.0}">{}</text>"#,
            LEFT - 10.0,
            y + BAR + 4.0,
            escape(&bar.name)
        );
        let p99 = format!("{}, p99 {:.0} ms", figure(bar.ordered), bar.p99);
        for (class, value, label, y) in
            [("ordered", bar.ordered, p99, y), ("random", bar.random, figure(bar.random), y + BAR + 2.0)]
        {
            let width = (WIDTH - LEFT - RIGHT) * value / most;
            let _ = writeln!(
                svg,
                r#"<rect class="{class}{ours}" x="{LEFT}" y="{y:.0}" width="{width:.1}" height="{BAR}" rx="2"/><text class="small" x="{:.1}" y="{:.0}">{label}</text>"#,
                LEFT + width + 6.0,
                y + 12.0,
            );
        }
    }
    let _ = writeln!(
        svg,
        r#"<text class="small" x="16" y="{:.0}">Made by scripts/bench --peers. Sekali answers HTTP; PostgreSQL by pgbench, Redis and NATS by their own protocols.</text>"#,
        height - 12.0
    );
    svg + "</svg>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_has_two_bars_in_proportion_and_its_name_is_escaped() {
        let bar = |name: &str, ordered, random| Bar {
            name: name.into(),
            is_ours: name == "Sekali",
            ordered,
            random,
            p99: 4.6,
        };
        let svg = svg(&[bar("Sekali", 10_000.0, 5_000.0), bar("A & B <1>", 2_500.0, 1_000.0)]);
        assert_eq!(svg.matches("<rect").count(), 4);
        for part in
            ["width=\"390.0\"", "width=\"195.0\"", "A &amp; B &lt;1&gt;", "10,000, p99 5 ms", "ordered ours"]
        {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        let (open, closed) = (svg.matches("<text").count(), svg.matches("</text>").count());
        assert_eq!(open, closed);
    }
}
