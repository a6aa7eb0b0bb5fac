"""Published weights: the table of checkpoints, their files, and the way from a file into a net's variables.

    file -> readers.py (tensors by name) -> name_rules.py (which name is which variable)
         -> convert.py (renames Keras layers, matches, transposes) -> load.py assigns

Example, one tensor of `reskeras.create("timm/resnet50.a1_in1k")`:

    load.py        finds the file: table.py has its URL and sha256, fetch.py downloads and checks it
    readers.py     reads "layer1.0.conv3.weight", (256, 64, 1, 1): output and input channels, height, width
    name_rules.py  says that our "conv2_block1_3_conv/kernel" has this name in timm's files
    convert.py     looks it up under this name; transposes it to (1, 1, 64, 256), Keras' order: height, width,
                   input and output channels; checks that every variable has exactly one tensor, every tensor
                   one variable
    load.py        assigns it

In the same way timm's "layer1.0.conv1.weight" (64, 64, 1, 1) becomes "conv2_block1_1_conv/kernel" (1, 1, 64,
64), and "fc.weight" (1000, 2048) becomes "predictions/kernel" (2048, 1000).  The values of variables
with one axis, such as those of normalizations, stay as they are; only their names differ.
"""
