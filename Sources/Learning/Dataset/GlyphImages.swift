/// The finished images: by class, then by face.
package struct GlyphImages {
    /// Characters to train on in ascending order, then the held-out ones in ascending order.
    package var characters: [UInt32] = []
    package var heldOutCount = 0
    package var labels: [Int32] = []
    /// Which of the builder's fonts drew each image.
    package var faces: [Int32] = []
    package var images: [UInt8] = []
    /// Family, style and revision of each font.
    package var descriptions: [String] = []

    package init() {}
}
