/** Classifies photos with a .tflite file of `reskeras.export`. Not compiled by the tests: it needs Android. */
package reskeras.app

import android.content.Context
import android.graphics.Bitmap
import java.io.Closeable
import java.io.FileInputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel
import org.tensorflow.lite.DataType
import org.tensorflow.lite.Interpreter
import reskeras.preparation.normalize
import reskeras.preparation.quantize
import reskeras.preparation.readMetadata
import reskeras.preparation.resizeAndCrop

class Classifier(context: Context, asset: String) : Closeable {
    private val file: ByteBuffer = context.assets.openFd(asset).use { place ->
        FileInputStream(place.fileDescriptor).channel.map(
            FileChannel.MapMode.READ_ONLY, place.startOffset, place.declaredLength)
    }
    private val metadata = readMetadata(file)
    private val interpreter = Interpreter(file, Interpreter.Options().setNumThreads(2))

    /** Pairs of a class and its score, the best first. */
    fun classify(photo: Bitmap): List<Pair<String, Float>> {
        val argb = IntArray(photo.width * photo.height)
        photo.getPixels(argb, 0, photo.width, 0, 0, photo.width, photo.height)
        val pixels = resizeAndCrop(argb, photo.width, photo.height, metadata.preprocessing)
        val values = if (metadata.scalesInside) pixels else normalize(pixels, metadata.preprocessing)

        val output = interpreter.getOutputTensor(0)
        val result = ByteBuffer.allocateDirect(output.numBytes()).order(ByteOrder.nativeOrder())
        interpreter.run(encode(values), result)
        val scores = decode(result, output.numElements())
        return scores.indices.map { metadata.labels.getOrElse(it) { _ -> it.toString() } to scores[it] }
            .sortedByDescending { it.second }
    }

    private fun encode(values: FloatArray): ByteBuffer {
        val input = interpreter.getInputTensor(0)
        val buffer = ByteBuffer.allocateDirect(input.numBytes()).order(ByteOrder.nativeOrder())
        if (input.dataType() == DataType.FLOAT32) {
            buffer.asFloatBuffer().put(values)
        } else {
            val (scale, zeroPoint) = input.quantizationParams().run { scale to zeroPoint }
            buffer.put(quantize(values, scale, zeroPoint, input.dataType() == DataType.INT8))
        }
        return buffer.apply { rewind() }
    }

    private fun decode(buffer: ByteBuffer, count: Int): FloatArray {
        val output = interpreter.getOutputTensor(0)
        buffer.rewind()
        if (output.dataType() == DataType.FLOAT32) return FloatArray(count) { buffer.float }
        val (scale, zeroPoint) = output.quantizationParams().run { scale to zeroPoint }
        val isSigned = output.dataType() == DataType.INT8
        return FloatArray(count) {
            val level = buffer.get().toInt()
            ((if (isSigned) level else level and 255) - zeroPoint) * scale
        }
    }

    override fun close() = interpreter.close()
}
