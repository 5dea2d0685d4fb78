// Places the nodes of a graph: each below its inputs, beside those of equal depth, near what it is connected with.

/** [{row, column}] of layers [{at, name, inputs}] in the order of execution. Without inputs, each follows the last. */
export function ranked(layers) {
  const named = new Map(layers.map((layer) => [layer.name, layer.at]));
  const inputs = layers.map((layer) => sources(layer, named));
  const rows = [];
  inputs.forEach((from, at) => rows.push(from.length ? 1 + Math.max(...from.map((each) => rows[each])) : 0));
  const widths = new Map();
  const columns = [];
  inputs.forEach((from, at) => {
    const wanted = from.length ? Math.min(...from.map((each) => columns[each])) : 0;
    const taken = widths.get(rows[at]) ?? new Set();
    let column = wanted;
    while (taken.has(column)) column += 1;
    widths.set(rows[at], taken.add(column));
    columns.push(column);
  });
  return layers.map((_, at) => ({ row: rows[at], column: columns[at] }));
}

/** The earlier layers that a layer reads. */
function sources(layer, named) {
  if (layer.inputs === null) return layer.at ? [layer.at - 1] : [];
  return layer.inputs.map((name) => named.get(name)).filter((at) => at !== undefined && at < layer.at);
}
