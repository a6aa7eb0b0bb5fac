/** One screen: choose a photo, see its classes. Not compiled by the tests: it needs Android. */
package reskeras.app

import android.graphics.ImageDecoder
import android.net.Uri
import android.os.Build
import android.os.Bundle
import android.provider.MediaStore
import android.widget.Button
import android.widget.ImageView
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.result.PickVisualMediaRequest
import androidx.activity.result.contract.ActivityResultContracts.PickVisualMedia
import kotlin.concurrent.thread

class MainActivity : ComponentActivity() {
    private val classifier by lazy { Classifier(this, "net.tflite") }
    private val pick = registerForActivityResult(PickVisualMedia()) { photo -> photo?.let(::show) }

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        setContentView(R.layout.main)
        findViewById<Button>(R.id.choose).setOnClickListener {
            pick.launch(PickVisualMediaRequest(PickVisualMedia.ImageOnly))
        }
    }

    private fun show(photo: Uri) = thread {
        val text = try {
            val bitmap = decode(photo)
            runOnUiThread { findViewById<ImageView>(R.id.photo).setImageBitmap(bitmap) }
            classifier.classify(bitmap).take(3).joinToString("\n") { (name, score) ->
                "%s %.1f %%".format(name, 100 * score)
            }
        } catch (error: Exception) {
            error.message ?: error.toString()
        }
        runOnUiThread { findViewById<TextView>(R.id.predictions).text = text }
    }

    /** The photo, upright as its EXIF data say, in memory that the program may read. */
    private fun decode(photo: Uri) =
        if (Build.VERSION.SDK_INT >= 28) {
            ImageDecoder.decodeBitmap(ImageDecoder.createSource(contentResolver, photo)) { decoder, _, _ ->
                decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE
            }
        } else {
            @Suppress("DEPRECATION")
            MediaStore.Images.Media.getBitmap(contentResolver, photo)
        }

    override fun onDestroy() {
        classifier.close()
        super.onDestroy()
    }
}
