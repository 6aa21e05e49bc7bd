/// One IBasicBlock of an IResNet: its name in the state dictionary and its shape.
package struct BlockShape: Sendable {
    package let name: String
    package let inputs: Int
    package let outputs: Int
    package let stride: Int
    package let height: Int
    package let width: Int

    /// Whether the shortcut is a convolution, because the shape changes.
    package var hasDownsample: Bool { stride != 1 || inputs != outputs }
    package var outputHeight: Int { (height + stride - 1) / stride }
    package var outputWidth: Int { (width + stride - 1) / stride }
}

extension BackboneConfiguration {
    /// Every block, first to last.
    package var blocks: [BlockShape] {
        var result: [BlockShape] = []
        var (inputs, height, width) = (stemWidth, inputHeight, inputWidth)
        for stage in depths.indices {
            for position in 0..<depths[stage] {
                let block = BlockShape(
                    name: "layer\(stage + 1).\(position)", inputs: inputs, outputs: widths[stage],
                    stride: position == 0 ? strides[stage] : 1, height: height, width: width)
                result.append(block)
                (inputs, height, width) = (block.outputs, block.outputHeight, block.outputWidth)
            }
        }
        return result
    }
}
