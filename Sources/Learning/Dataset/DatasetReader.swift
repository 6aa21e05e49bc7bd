internal import Foundation

/// Opens a data set whatever its format.
public enum DatasetReader {
    /// Opens an InsightFace set if `path` is a `.rec` file or a folder with `train.rec`, a folder per identity otherwise.
    ///
    /// - Throws: `DatasetError` as `RecordDataset` and `FolderDataset` do.
    public static func open(path: String, options: DatasetOptions = .init()) throws(DatasetError) -> any ImageDataset {
        if path.hasSuffix(".rec") || FileManager.default.fileExists(atPath: path + "/train.rec") {
            return try RecordDataset(path: path, options: options)
        }
        return try FolderDataset(root: path, options: options)
    }
}
