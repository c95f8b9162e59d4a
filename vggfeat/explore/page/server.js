// What the page asks the server for. Addresses are relative: the token is in the address of the page.

async function answer(path, options) {
  const response = await fetch(path, options);
  if (!response.ok) throw new Error((await response.text()) || response.statusText);
  return response;
}

export const json = async (path) => (await answer(path)).json();
export const floats = async (path) => new Float32Array(await (await answer(path)).arrayBuffer());
export const integers = async (path) => new Int32Array(await (await answer(path)).arrayBuffer());
export const picture = async (path) => createImageBitmap(await (await answer(path)).blob());
export const send = async (path, body) => (await answer(path, { method: "POST", body })).json();
export const tile = (row) => `tiles/${row}`;
