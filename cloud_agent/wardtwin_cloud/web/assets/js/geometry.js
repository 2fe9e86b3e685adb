// Plane geometry of a floor plan. Pure: corners in metres in, rectangles and numbers out.

export function extent(polygons) {
  const corners = polygons.flat();
  const xs = corners.map(([x]) => x);
  const ys = corners.map(([, y]) => y);
  return { left: Math.min(...xs), top: Math.min(...ys), right: Math.max(...xs), bottom: Math.max(...ys) };
}

function inside(x, y, polygon) {
  let odd = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [xi, yi] = polygon[i];
    const [xj, yj] = polygon[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) odd = !odd;
  }
  return odd;
}

/**
 * The largest upright rectangle in `polygon` whose sides lie on the grid of its corners: where a label has room.
 * Exact for rooms with right angles; for slanted walls the grid is refined and the rectangle stays inside.
 */
export function labelBox(polygon) {
  const refine = (values) => {
    const sorted = [...new Set(values)].sort((a, b) => a - b);
    const slanted = polygon.some(([x, y], n) => {
      const [u, v] = polygon[(n + 1) % polygon.length];
      return Math.abs(x - u) > 1e-9 && Math.abs(y - v) > 1e-9;
    });
    if (!slanted) return sorted;
    const [low, high] = [sorted[0], sorted.at(-1)];
    for (let n = 1; n < 12; n++) sorted.push(low + ((high - low) * n) / 12);
    return [...new Set(sorted)].sort((a, b) => a - b);
  };
  const xs = refine(polygon.map(([x]) => x));
  const ys = refine(polygon.map(([, y]) => y));
  const free = ys.slice(1).map((_, row) => xs.slice(1).map((__, column) => {
    const [left, right, top, bottom] = [xs[column], xs[column + 1], ys[row], ys[row + 1]];
    const e = 1e-6;
    return [[left + e, top + e], [right - e, top + e], [left + e, bottom - e], [right - e, bottom - e]].every(([x, y]) => inside(x, y, polygon));
  }));
  let best = null;
  for (let top = 0; top < free.length; top++) {
    const open = xs.slice(1).map(() => true);
    for (let bottom = top; bottom < free.length; bottom++) {
      for (let column = 0; column < open.length; column++) open[column] &&= free[bottom][column];
      for (let left = 0; left < open.length; left++) {
        for (let right = left; right < open.length && open[right]; right++) {
          const box = { x: xs[left], y: ys[top], width: xs[right + 1] - xs[left], height: ys[bottom + 1] - ys[top] };
          // wide boxes read better than tall ones of the same area
          const worth = Math.min(box.width, 6) * Math.min(box.height, 4) * 1e3 + box.width * box.height;
          if (!best || worth > best.worth) best = { ...box, worth };
        }
      }
    }
  }
  return best;
}
