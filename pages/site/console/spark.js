// A small chart: one line, without axes.

const SVG = "http://www.w3.org/2000/svg";

/** A line through points, of which the last is at `span`. The numbers beside it say the same to those who do not see it. */
export function spark(points, span, width, height) {
  const picture = document.createElementNS(SVG, "svg");
  for (const [name, value] of Object.entries({ viewBox: `0 0 ${width} ${height}`, width, height, preserveAspectRatio: "none", "aria-hidden": "true" })) picture.setAttribute(name, value);
  const most = Math.max(1, ...points.map(([, value]) => value));
  const line = document.createElementNS(SVG, "polyline");
  line.setAttribute("points", points.map(([at, value]) => `${(at * width) / span},${height - 1 - ((height - 2) * value) / most}`).join(" "));
  picture.append(line);
  return picture;
}
