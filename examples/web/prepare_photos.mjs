// For the test: prepares the photos that it reads from standard input, and writes the floats to standard output.
import { readFileSync, writeSync } from "node:fs"
import { normalize, resizeAndCrop } from "./prepare.js"

const input = readFileSync(0)
let at = 0
const readInt = () => input.readInt32BE((at += 4) - 4)
const readFloat = () => input.readFloatBE((at += 4) - 4)
const readText = () => {
  const length = input.readUInt16BE((at += 2) - 2)
  return input.toString("utf8", at, (at += length))
}

for (let count = readInt(); count > 0; count--) {
  const [height, width, channels] = [readInt(), readInt(), readInt()]
  const [pixels, interpolation, crop_mode] = [readText(), readText(), readText()]
  const mean = Array.from({ length: channels }, readFloat)
  const std = Array.from({ length: channels }, readFloat)
  const crop_pct = input.readDoubleBE((at += 8) - 8)
  const spec = { size: [height, width], pixels, interpolation, crop_mode, mean, std, crop_pct }
  const [photoHeight, photoWidth] = [readInt(), readInt()]
  const rgba = new Uint8Array(4 * photoHeight * photoWidth)
  for (let i = 0; i < photoHeight * photoWidth; i++) rgba.set(input.subarray(at + 3 * i, at + 3 * i + 3), 4 * i)
  at += 3 * photoHeight * photoWidth
  const prepared = resizeAndCrop(rgba, photoWidth, photoHeight, spec)
  const values = [...prepared, ...normalize(prepared, spec)]
  const output = Buffer.alloc(4 * values.length)
  values.forEach((value, i) => output.writeFloatBE(value, 4 * i))
  for (let written = 0; written < output.length;) written += writeSync(1, output, written)
}
