/// How many classes each slice contributes to a step. A run keeps the rule that it began with: another one chooses other classes.
public enum SamplingRule: Int, Sendable, Hashable, Codable, CaseIterable {
    /// ⌊r·n⌋ of a slice with n classes, its positives among them. Of small slices that is little, or nothing: nine classes at a
    /// rate of 0.1 give none.
    case perSlice = 1
    /// ⌊r·C⌋ of all C classes, the positives of the batch among them, as of one slice: the negatives are shared out.
    case shared = 2
}
