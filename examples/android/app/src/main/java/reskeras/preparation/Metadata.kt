/** What `reskeras.export` wrote into a .tflite file: the class names, and how images are prepared. */
package reskeras.preparation

import java.nio.ByteBuffer
import java.nio.ByteOrder

/** @property scalesInside whether the net takes pixels of 0 to 255, and normalizes them itself */
class Metadata(val labels: List<String>, val preprocessing: Preprocessing, val scalesInside: Boolean)

/** Reads the metadata. Throws an IllegalArgumentException if the file has none. */
fun readMetadata(file: ByteBuffer): Metadata {
    val json = JsonReader(findMetadata(file)).read() as Map<*, *>
    val model = json["memory"] as Map<*, *>
    val preprocessing = requireNotNull(model["preprocessing"] as? Map<*, *>) {
        "the file does not say how images are prepared; export it with preprocessing="
    }
    val (height, width) = numbers(preprocessing["size"])
    return Metadata(
        (json["labels"] as? List<*>).orEmpty().map { it.toString() },
        Preprocessing(
            height.toInt(), width.toInt(), preprocessing["pixels"] as String,
            numbers(preprocessing["mean"]), numbers(preprocessing["std"]),
            preprocessing["interpolation"] as String, (preprocessing["crop_pct"] as Double),
            preprocessing["crop_mode"] as String,
        ),
        model["scales"] == true,
    )
}

private fun numbers(list: Any?) = (list as List<*>).map { (it as Double).toFloat() }.toFloatArray()

/** The text of the metadata buffer "RESKERAS_METADATA", found through TFLite's tables (schema.fbs). */
private fun findMetadata(file: ByteBuffer): String {
    val data = file.duplicate().order(ByteOrder.LITTLE_ENDIAN)

    // a table begins with the distance to its list of fields; a field that is not there has the place 0
    fun field(table: Int, number: Int): Int {
        val fields = table - data.getInt(table)
        val offset = if (4 + 2 * number < data.getShort(fields)) data.getShort(fields + 4 + 2 * number).toInt() else 0
        return if (offset == 0) 0 else table + offset
    }

    fun follow(place: Int) = place + data.getInt(place)

    fun bytes(vector: Int) = ByteArray(data.getInt(vector)) { data.get(vector + 4 + it) }

    val model = follow(0)
    val entries = field(model, 6).let { if (it == 0) 0 else follow(it) } // Model.metadata
    val buffers = follow(field(model, 4)) // Model.buffers
    for (i in 0 until if (entries == 0) 0 else data.getInt(entries)) {
        val entry = follow(entries + 4 + 4 * i)
        if (String(bytes(follow(field(entry, 0)))) != "RESKERAS_METADATA") continue
        val number = field(entry, 1).let { if (it == 0) 0 else data.getInt(it) }
        return String(bytes(follow(field(follow(buffers + 4 + 4 * number), 0))))
    }
    throw IllegalArgumentException("the file has no metadata of reskeras; export it with reskeras.export")
}

/** As much of JSON as the metadata needs, since Android's own reader is not on the JVM of the tests. */
private class JsonReader(private val text: String) {
    private var at = 0

    fun read(): Any? {
        skipSpace()
        return when (text[at]) {
            '{' -> readAll('}') { (readString().also { skipSpace(); at++ }) to read() }.toMap()
            '[' -> readAll(']') { read() }
            '"' -> readString()
            't' -> true.also { at += 4 }
            'f' -> false.also { at += 5 }
            'n' -> null.also { at += 4 }
            else -> readNumber()
        }
    }

    private fun <T> readAll(end: Char, readOne: () -> T): List<T> {
        val all = mutableListOf<T>()
        at++
        skipSpace()
        while (text[at] != end) {
            all += readOne()
            skipSpace()
            if (text[at] == ',') at++
            skipSpace()
        }
        at++
        return all
    }

    private fun readString(): String {
        val result = StringBuilder()
        at++
        while (text[at] != '"') {
            if (text[at] != '\\') {
                result.append(text[at++])
                continue
            }
            when (val letter = text[at + 1]) {
                'u' -> result.append(text.substring(at + 2, at + 6).toInt(16).toChar()).also { at += 4 }
                else -> result.append(mapOf('n' to '\n', 't' to '\t', 'r' to '\r', 'b' to '\b', 'f' to '\u000c')[letter]
                    ?: letter)
            }
            at += 2
        }
        at++
        return result.toString()
    }

    private fun readNumber(): Double {
        val start = at
        while (at < text.length && text[at] in "+-.eE0123456789") at++
        return text.substring(start, at).toDouble()
    }

    private fun skipSpace() {
        while (at < text.length && text[at].isWhitespace()) at++
    }
}
