/// What the directory of a checkpoint is called.
public enum CheckpointName {
    /// What all names begin with.
    public static let prefix = "step-"

    /// The name of a checkpoint after `step`, by the number of steps that are done: `step-00000100` after step 99.
    public static func after(_ step: Int) -> String {
        let digits = String(step + 1)
        return prefix + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
    }
}
