// Image preparation as reskeras does it: resize against aliasing, crop, normalize.  No library is needed.

/**
 * Pixels that the net sees, from 0 to 255.
 * @param {ArrayLike<number>} pixels RGBA bytes, row by row, as a canvas has them
 * @param {number} width
 * @param {number} height
 * @param {object} spec the "preprocessing" of net.json
 * @returns {Float32Array} height x width x channels of the net
 */
export function resizeAndCrop(pixels, width, height, spec) {
  const [newHeight, newWidth] = spec.size
  const channels = spec.mean.length
  const resized = computeResizedSize(height, width, spec.size.map((side) => Math.floor(side / spec.crop_pct)),
                                     spec.crop_mode)
  const scale = spec.pixels === "caffe" || spec.pixels === "raw" ? 1 : 255
  const border = spec.mean.map((value) => Math.round(value * scale))
  if (spec.pixels === "caffe") border.reverse()
  const across = makeKernels(width, resized[1], newWidth, spec.interpolation)
  const down = makeKernels(height, resized[0], newHeight, spec.interpolation)

  // first the width, of the rows that the height needs; then the height
  const used = down.filter((kernel) => kernel.weights.length)
  const top = Math.min(...used.map((kernel) => kernel.start))
  const bottom = Math.max(...used.map((kernel) => kernel.start + kernel.weights.length))
  const rows = new Float32Array((bottom - top) * newWidth * channels)
  for (let y = top; y < bottom; y++) {
    for (let x = 0; x < newWidth; x++) {
      const { start, weights } = across[x]
      for (let c = 0; c < channels; c++) {
        let sum = weights.length ? 0 : border[c]
        for (let k = 0; k < weights.length; k++) {
          sum += weights[k] * readPixel(pixels, 4 * (y * width + start + k), c, channels)
        }
        rows[((y - top) * newWidth + x) * channels + c] = clip(sum)
      }
    }
  }
  const result = new Float32Array(newHeight * newWidth * channels)
  const stride = newWidth * channels
  for (let y = 0; y < newHeight; y++) {
    const { start, weights } = down[y]
    for (let i = 0; i < stride; i++) {
      let sum = weights.length ? 0 : border[i % channels]
      for (let k = 0; k < weights.length; k++) sum += weights[k] * rows[(start - top + k) * stride + i]
      result[y * stride + i] = clip(sum)
    }
  }
  return result
}

/** Pixels from 0 to 255 -> the values that the net takes, in a new array. */
export function normalize(pixels, spec) {
  if (spec.pixels === "raw") return pixels
  const channels = spec.mean.length
  return pixels.map((_, i) => {
    const c = i % channels
    if (spec.pixels === "caffe") return pixels[i - c + channels - 1 - c] - spec.mean[c]
    return (pixels[i] / 255 - spec.mean[c]) / spec.std[c]
  })
}

/** A channel of a canvas' pixel; its lightness for a net of gray images. */
function readPixel(pixels, i, channel, channels) {
  if (channels === 3) return pixels[i + channel]
  return Math.round(0.299 * pixels[i] + 0.587 * pixels[i + 1] + 0.114 * pixels[i + 2])
}

/** Height and width of the whole image before the crop. */
function computeResizedSize(height, width, [targetHeight, targetWidth], mode) {
  if (mode === "squash") return [targetHeight, targetWidth]
  const divide = mode === "border" || targetHeight !== targetWidth
    ? (a, b) => Math.floor((2 * a + b) / (2 * b)) : (a, b) => Math.floor(a / b)
  const byWidth = divide(height * targetWidth, width)
  const byHeight = divide(width * targetHeight, height)
  if (mode === "border") {
    return [Math.min(targetHeight, Math.max(byWidth, 1)), Math.min(targetWidth, Math.max(byHeight, 1))]
  }
  return [Math.max(targetHeight, byWidth), Math.max(targetWidth, byHeight)]
}

/** For each new pixel of one axis: the first old pixel, and the weight of it and of those after it. */
function makeKernels(size, resized, crop, interpolation) {
  const cut = Math.max(resized - crop, 0)
  const padding = Math.max(crop - resized, 0)
  const half = Math.floor(cut / 2)
  const first = half + (cut % 2) * (half % 2) - Math.floor(padding / 2) // halves to even, as Python rounds
  const scale = size / resized
  const wide = Math.max(scale, 1) // smaller images: a wider kernel, so that every pixel counts
  const support = (interpolation === "bicubic" ? 2 : 1) * wide
  return Array.from({ length: crop }, (_, i) => {
    if (i + first < 0 || i + first >= resized) return { start: 0, weights: [] } // the border
    const center = (i + first + 0.5) * scale
    const start = Math.max(Math.floor(center - support), 0)
    const end = Math.min(Math.ceil(center + support), size)
    const weights = Array.from({ length: end - start },
      (_, k) => kernel(Math.abs(start + k + 0.5 - center) / wide, interpolation))
    const sum = weights.reduce((a, b) => a + b, 0)
    return { start, weights: weights.map((weight) => weight / sum) }
  })
}

/** The weight of a pixel at a distance of t new pixels. */
function kernel(t, interpolation) {
  if (interpolation !== "bicubic") return Math.max(1 - t, 0)
  if (t < 1) return (1.5 * t - 2.5) * t * t + 1
  return t < 2 ? ((2.5 - 0.5 * t) * t - 4) * t + 2 : 0
}

function clip(value) {
  return Math.min(Math.max(value, 0), 255)
}
