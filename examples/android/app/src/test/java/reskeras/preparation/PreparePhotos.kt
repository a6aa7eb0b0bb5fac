/** For the test: prepares the photos that it reads from standard input, and writes the floats to standard output. */
package reskeras.preparation

import java.io.DataInputStream
import java.io.DataOutputStream

fun main() {
    val input = DataInputStream(System.`in`.buffered(1 shl 20))
    val output = DataOutputStream(System.out.buffered(1 shl 20))
    repeat(input.readInt()) {
        val (height, width, channels) = List(3) { input.readInt() }
        val (pixels, interpolation, cropMode) = List(3) { input.readUTF() }
        val mean = FloatArray(channels) { input.readFloat() }
        val std = FloatArray(channels) { input.readFloat() }
        val spec = Preprocessing(height, width, pixels, mean, std, interpolation, input.readDouble(), cropMode)
        val (photoHeight, photoWidth) = List(2) { input.readInt() }
        val bytes = ByteArray(photoHeight * photoWidth * 3).also(input::readFully)
        val argb = IntArray(photoHeight * photoWidth) { i ->
            (bytes[3 * i].toInt() and 255 shl 16) or (bytes[3 * i + 1].toInt() and 255 shl 8) or
                (bytes[3 * i + 2].toInt() and 255)
        }
        val prepared = resizeAndCrop(argb, photoWidth, photoHeight, spec)
        for (value in prepared + normalize(prepared, spec)) output.writeFloat(value)
    }
    output.flush()
}
