// Loads the net of net.json, and classifies images with it.
import { normalize, resizeAndCrop } from "./prepare.js"

const TYPES = { float32: Float32Array, int8: Int8Array, uint8: Uint8Array }

/** @returns {Promise<(image: ImageData) => Promise<{label: string, score: number}[]>>} the best class first */
export async function loadClassifier(folder = ".") {
  const net = await (await fetch(`${folder}/net.json`)).json()
  const load = net.file.endsWith(".onnx") ? loadOnnx : loadTflite
  const run = await load(new URL(`${folder}/`, location.href), net)
  return async (image) => {
    const pixels = resizeAndCrop(image.data, image.width, image.height, net.preprocessing)
    const scores = await run(net.scales ? pixels : normalize(pixels, net.preprocessing))
    return [...scores].map((score, i) => ({ label: net.labels[i] ?? String(i), score }))
      .sort((a, b) => b.score - a.score)
  }
}

function getShape(net) {
  return [1, ...net.preprocessing.size, net.preprocessing.mean.length]
}

async function loadOnnx(folder, net) {
  const ort = await import(new URL("runtime/onnxruntime-web/dist/ort.wasm.min.mjs", folder))
  ort.env.wasm.numThreads = 1 // more need a server that isolates the page
  const session = await ort.InferenceSession.create(new URL(net.file, folder).href)
  return async (values) => {
    const input = new ort.Tensor("float32", values, getShape(net))
    const outputs = await session.run({ [session.inputNames[0]]: input })
    return outputs[session.outputNames[0]].data
  }
}

async function loadTflite(folder, net) {
  const litert = await import("@litertjs/core") // the page's import map says where
  await litert.loadLiteRt(new URL("runtime/core/wasm/", folder).href)
  const model = await litert.loadAndCompile(new URL(net.file, folder).href, { accelerator: "wasm" })
  return async (values) => {
    const input = new litert.Tensor(quantize(values, net.input), getShape(net))
    const [output] = await model.run(input)
    const { scale, zero_point } = net.output
    const scores = Array.from(await output.data(), (value) => (scale ? (value - zero_point) * scale : value))
    input.delete()
    output.delete()
    return scores
  }
}

/** Values in the type of the net's input. */
function quantize(values, { type, scale, zero_point }) {
  if (!scale) return values
  const [lowest, highest] = type === "int8" ? [-128, 127] : [0, 255]
  return TYPES[type].from(values, (value) => Math.min(Math.max(roundHalfToEven(value / scale) + zero_point, lowest),
                                                      highest))
}

function roundHalfToEven(value) {
  const below = Math.floor(value)
  if (value - below !== 0.5) return Math.round(value)
  return below % 2 ? below + 1 : below
}
