// Prints what h5wasm reads from a file as JSON. Arguments: FILE DATASET...
import h5wasm from "h5wasm/node";

await h5wasm.ready;
const [path, ...datasets] = process.argv.slice(2);
const file = new h5wasm.File(path, "r");
const found = { session_description: file.get("session_description").value, datasets: {} };
for (const name of datasets) {
  const dataset = file.get(name);
  const values = dataset.value;
  found.datasets[name] = {
    shape: dataset.shape,
    dtype: dataset.dtype,
    unit: dataset.attrs.unit?.value,
    filters: dataset.filters.map((filter) => filter.id),
    bytes: Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("base64"),
  };
}
file.close();
console.log(JSON.stringify(found));
