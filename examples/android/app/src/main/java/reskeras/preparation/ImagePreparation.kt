/** Image preparation as reskeras does it: resize against aliasing, crop, normalize.  Needs nothing of Android. */
package reskeras.preparation

import kotlin.math.abs
import kotlin.math.ceil
import kotlin.math.floor
import kotlin.math.max
import kotlin.math.min
import kotlin.math.roundToInt

/** How a net wants its images: the `preprocessing` of the metadata in the file. */
class Preprocessing(
    val height: Int, val width: Int, val pixels: String, val mean: FloatArray, val std: FloatArray,
    val interpolation: String, val cropPct: Double, val cropMode: String,
) {
    val channels get() = mean.size
    private val isScaled get() = pixels != "caffe" && pixels != "raw"

    /** The color of the border, in the order of an image's channels. */
    val border: FloatArray
        get() {
            val levels = FloatArray(channels) { (mean[it] * if (isScaled) 255 else 1).roundToInt().toFloat() }
            return if (pixels == "caffe") levels.reversedArray() else levels
        }
}

/** The first old pixel of a new one, and the weight of it and of those after it; no weights in the border. */
private class Kernel(val start: Int, val weights: FloatArray)

/**
 * Pixels that the net sees, from 0 to 255: height x width x channels.
 *
 * @param argb one integer for each pixel, row by row, as `Bitmap.getPixels` gives them
 */
fun resizeAndCrop(argb: IntArray, width: Int, height: Int, spec: Preprocessing): FloatArray {
    val channels = spec.channels
    val border = spec.border
    val (resizedHeight, resizedWidth) = computeResizedSize(height, width, spec)
    val across = makeKernels(width, resizedWidth, spec.width, spec.interpolation)
    val down = makeKernels(height, resizedHeight, spec.height, spec.interpolation)

    // first the width, of the rows that the height needs; then the height
    val used = down.filter { it.weights.isNotEmpty() }
    val top = used.minOf { it.start }
    val bottom = used.maxOf { it.start + it.weights.size }
    val stride = spec.width * channels
    val rows = FloatArray((bottom - top) * stride)
    for (y in top until bottom) for (x in 0 until spec.width) for (c in 0 until channels) {
        val kernel = across[x]
        var sum = if (kernel.weights.isEmpty()) border[c] else 0f
        for (k in kernel.weights.indices) {
            sum += kernel.weights[k] * readPixel(argb[y * width + kernel.start + k], c, channels)
        }
        rows[(y - top) * stride + x * channels + c] = sum.coerceIn(0f, 255f)
    }
    val result = FloatArray(spec.height * stride)
    for (y in 0 until spec.height) for (i in 0 until stride) {
        val kernel = down[y]
        var sum = if (kernel.weights.isEmpty()) border[i % channels] else 0f
        for (k in kernel.weights.indices) sum += kernel.weights[k] * rows[(kernel.start - top + k) * stride + i]
        result[y * stride + i] = sum.coerceIn(0f, 255f)
    }
    return result
}

/** Pixels from 0 to 255 -> the values that the net takes, in a new array. */
fun normalize(pixels: FloatArray, spec: Preprocessing): FloatArray = FloatArray(pixels.size) { i ->
    val c = i % spec.channels
    when (spec.pixels) {
        "raw" -> pixels[i]
        "caffe" -> pixels[i - c + spec.channels - 1 - c] - spec.mean[c]
        else -> (pixels[i] / 255f - spec.mean[c]) / spec.std[c]
    }
}

/** Values -> the bytes of a quantized input. */
fun quantize(values: FloatArray, scale: Float, zeroPoint: Int, isSigned: Boolean): ByteArray {
    val (lowest, highest) = if (isSigned) -128 to 127 else 0 to 255
    return ByteArray(values.size) {
        (Math.rint((values[it] / scale).toDouble()).toInt() + zeroPoint).coerceIn(lowest, highest).toByte()
    }
}

/** A channel of a pixel; its lightness for a net of gray images. */
private fun readPixel(argb: Int, channel: Int, channels: Int): Float {
    val red = argb shr 16 and 255
    val green = argb shr 8 and 255
    val blue = argb and 255
    if (channels == 1) return (0.299f * red + 0.587f * green + 0.114f * blue).roundToInt().toFloat()
    return (if (channel == 0) red else if (channel == 1) green else blue).toFloat()
}

/** Height and width of the whole image before the crop. */
private fun computeResizedSize(height: Int, width: Int, spec: Preprocessing): Pair<Int, Int> {
    val targetHeight = floor(spec.height / spec.cropPct).toInt()
    val targetWidth = floor(spec.width / spec.cropPct).toInt()
    if (spec.cropMode == "squash") return targetHeight to targetWidth
    val rounds = spec.cropMode == "border" || targetHeight != targetWidth
    fun divide(a: Long, b: Int) = (if (rounds) (2 * a + b) / (2L * b) else a / b).toInt()
    val byWidth = divide(height.toLong() * targetWidth, width)
    val byHeight = divide(width.toLong() * targetHeight, height)
    if (spec.cropMode == "border") {
        return min(targetHeight, max(byWidth, 1)) to min(targetWidth, max(byHeight, 1))
    }
    return max(targetHeight, byWidth) to max(targetWidth, byHeight)
}

private fun makeKernels(size: Int, resized: Int, crop: Int, interpolation: String): List<Kernel> {
    val cut = max(resized - crop, 0)
    val padding = max(crop - resized, 0)
    val first = cut / 2 + cut % 2 * (cut / 2 % 2) - padding / 2 // halves to even, as Python rounds
    val scale = size.toDouble() / resized
    val wide = max(scale, 1.0) // smaller images: a wider kernel, so that every pixel counts
    val support = (if (interpolation == "bicubic") 2 else 1) * wide
    return List(crop) {
        val position = it + first
        if (position < 0 || position >= resized) return@List Kernel(0, FloatArray(0)) // the border
        val center = (position + 0.5) * scale
        val start = max(floor(center - support).toInt(), 0)
        val end = min(ceil(center + support).toInt(), size)
        val weights = DoubleArray(end - start) { k ->
            weigh(abs(start + k + 0.5 - center) / wide, interpolation)
        }
        val sum = weights.sum()
        Kernel(start, FloatArray(weights.size) { k -> (weights[k] / sum).toFloat() })
    }
}

/** The weight of a pixel at a distance of t new pixels. */
private fun weigh(t: Double, interpolation: String): Double = when {
    interpolation != "bicubic" -> max(1 - t, 0.0)
    t < 1 -> (1.5 * t - 2.5) * t * t + 1
    t < 2 -> ((2.5 - 0.5 * t) * t - 4) * t + 2
    else -> 0.0
}
