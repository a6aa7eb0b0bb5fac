/** For the test: prints what the metadata of a file says, a line for each. */
package reskeras.preparation

import java.io.File
import java.nio.ByteBuffer

object PrintMetadata {
    @JvmStatic
    fun main(args: Array<String>) {
        val metadata = readMetadata(ByteBuffer.wrap(File(args[0]).readBytes()))
        val spec = metadata.preprocessing
        println(metadata.labels.joinToString("|"))
        println("${spec.height} ${spec.width} ${spec.pixels} ${spec.interpolation} ${spec.cropPct} ${spec.cropMode}")
        println(spec.mean.joinToString(" ") + " / " + spec.std.joinToString(" ") + " / " + metadata.scalesInside)
    }
}
