public import Cluster

/// What becomes of a checkpoint's directory: written beside, published, moved aside.
extension CheckpointReader {
    /// What is added to the name of a checkpoint that the cluster went back behind.
    public static let abandonedSuffix = ".abandoned"

    /// Reads the file of one slice and compares its hash with the manifest's.
    ///
    /// - Throws: `CenterStoreError`: `.notHeld` if the checkpoint has no such slice, `.damaged` if the file is not what was written,
    ///   `.io` if it cannot be read.
    public func verify(_ slice: SliceName) throws(CenterStoreError) {
        let entry = try file(of: slice)
        try CheckpointFile.verify("\(directory)/\(entry.path)", entry)
    }

    /// Gives a checkpoint that was written beside its place that place. One that is there is moved aside.
    ///
    /// - Throws: `CenterStoreError` if a directory cannot be renamed; what was there is there.
    public static func publish(_ written: String, as directory: String) throws(CenterStoreError) {
        if FileIO.exists(directory) { try moveAside(directory) }
        try FileIO.rename(written, to: directory)
        try FileIO.syncDirectory(FileIO.directory(of: directory))
    }

    /// Renames a checkpoint, so that nobody takes it for one of the present: `.abandoned`, or `.abandoned-2` and so on if others were moved
    /// aside from the same place. They stay: an operator may go back to any of them.
    ///
    /// - Returns: where it is now, nil if it is not there.
    /// - Throws: `CenterStoreError` if it cannot be renamed.
    @discardableResult
    public static func moveAside(_ directory: String) throws(CenterStoreError) -> String? {
        guard FileIO.exists(directory) else { return nil }
        var aside = directory + abandonedSuffix
        var number = 1
        while FileIO.exists(aside) {
            number += 1
            aside = directory + abandonedSuffix + "-\(number)"
        }
        try FileIO.rename(directory, to: aside)
        try FileIO.syncDirectory(FileIO.directory(of: directory))
        return aside
    }
}
