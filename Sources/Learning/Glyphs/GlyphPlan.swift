/// An image of a data set before it is drawn.
struct GlyphSample: Equatable {
    /// The class that the file says it is of.
    var label: Int32
    /// Which of the installed faces draws it.
    var face: Int32
    /// What it shows: an index of the builder's candidates.
    var source: Int
}

/// What a data set has: classes and images in the order of the file.
struct GlyphPlan: Equatable {
    /// What each class shows, an index of the builder's candidates: classes to train on, then those held out.
    var classes: [Int]
    var heldOutCount: Int
    /// By label, then by face unless labels are swapped.
    var samples: [GlyphSample]

    /// The classes to train on and to hold out, with every face that draws them.
    init(training: [Int], heldOut: [Int], faces: (Int) -> [Int]) {
        classes = training + heldOut
        heldOutCount = heldOut.count
        samples = []
        for (label, source) in classes.enumerated() {
            for face in faces(source) {
                samples.append(GlyphSample(label: Int32(label), face: Int32(face), source: source))
            }
        }
    }
}
