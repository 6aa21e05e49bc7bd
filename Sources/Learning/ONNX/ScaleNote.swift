/// What a tensor of ONNX scales 1/S does not say of the scales S, as a text that is kept with it.
///
/// More than one S can have the same 1/S in single precision. The text says how many units in the last place S lies from 1/(1/S), and
/// the bits of codes. A text that does not fit its tensor counts for nothing: then S is 1/(1/S), and codes have 8 bits.
enum ScaleNote {
    private static let steps: [Character] = ["-", "0", "+"]

    /// 1/S of scales, and the text.
    ///
    /// - Throws: `Problem` if a scale is so large or small that other programs could not compute with 1/S.
    static func write(_ scales: [Float], bits: Int) throws -> (reciprocals: [Float], text: String) {
        let reciprocals = scales.map { 1 / $0 }
        let text = try zip(scales, reciprocals).map { scale, reciprocal in
            let step = Int(scale.bitPattern) - Int((1 / reciprocal).bitPattern)
            guard reciprocal.isNormal, scale.isNormal, abs(step) <= 1 else {
                throw Problem("a scale of \(scale) cannot be written: 1/\(scale) is no normal number")
            }
            return steps[step + 1]
        }
        return (reciprocals, "PartialFC scale bits=\(bits) steps=\(String(text))")
    }

    /// The scales and bits that a text gives; nil if it does not fit.
    static func read(_ text: String, reciprocals: [Float]) -> (scales: [Float], bits: Int)? {
        guard let match = text.wholeMatch(of: /PartialFC scale bits=([2-8]) steps=([-0+]+)/),
            match.2.count == reciprocals.count, let bits = Int(match.1)
        else { return nil }
        var scales: [Float] = []
        for (step, reciprocal) in zip(match.2, reciprocals) {
            let near = 1 / reciprocal
            guard near.isNormal, near > 0 else { return nil }
            let scale = step == "0" ? near : step == "+" ? near.nextUp : near.nextDown
            guard 1 / scale == reciprocal else { return nil }
            scales.append(scale)
        }
        return (scales, bits)
    }
}
