internal import CKernels
internal import Foundation

/// A folder per identity: `root/identity/image.{jpg,jpeg,png,pgm,ppm}`.
///
/// Folders with at least one image are the classes, in order of their names (by bytes); images follow in the same order
/// within their folder.
public struct FolderDataset: Dataset {
    public let sampleCount: Int
    public let imageShape: ImageShape
    public let problems: [DatasetError]
    public let fingerprint: UInt64
    /// The folder name of each class.
    public let classNames: [String]
    private let paths: [String]
    private let labels: [Int32]

    /// Lists the images below `root`. They are opened when they are decoded, except the first, whose shape is taken unless
    /// the options give one.
    ///
    /// - Throws: `DatasetError` if the folder cannot be listed or has no images, or the first image is bad.
    public init(root: String, options: DatasetOptions = .init()) throws(DatasetError) {
        var names: [String] = []
        var paths: [String] = []
        var labels: [Int32] = []
        var problems = ProblemList(policy: options.badSamples)
        var sum: UInt64 = 0
        for folder in try Self.list(root) {
            let folderPath = root + "/" + folder
            var isFolder: ObjCBool = false
            guard FileManager.default.fileExists(atPath: folderPath, isDirectory: &isFolder), isFolder.boolValue else {
                continue
            }
            let before = paths.count
            for file in try Self.list(folderPath)
            where ImageDecoder.extensions.contains((file as NSString).pathExtension.lowercased()) {
                let path = folderPath + "/" + file
                let size = (try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? Int
                guard let size, size > 0 else {
                    try problems.report(
                        DatasetError(.corruptImage, path: path, index: paths.count, "is empty or cannot be read"))
                    continue
                }
                paths.append(path)
                labels.append(Int32(names.count))
                let entry = "\(folder)/\(file) \(size)"
                sum = Array(entry.utf8).withUnsafeBytes { pfc_image_checksum(sum, $0.baseAddress, $0.count) }
            }
            if paths.count > before { names.append(folder) }
        }
        guard !paths.isEmpty else {
            throw DatasetError(
                .noSamples, path: root,
                "has no images: expected folders, one per identity, with jpg, png, pgm or ppm files")
        }
        if let shape = options.imageShape {
            imageShape = shape
        } else {
            imageShape = try Self.firstShape(paths, policy: options.badSamples)
        }
        try imageShape.validate()
        sampleCount = paths.count
        classNames = names
        fingerprint = sum
        self.paths = paths
        self.labels = labels
        self.problems = problems.problems
    }

    public var classCount: Int { classNames.count }

    public func label(of index: Int) -> Int { Int(labels[index]) }

    public func origin(of index: Int) -> String { paths[index] }

    public func image(at index: Int, into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DatasetError) {
        try ImageDecoder.decode(file: paths[index], index: index, shape: imageShape, into: pixels)
    }

    private static func firstShape(_ paths: [String], policy: BadSamplePolicy) throws(DatasetError) -> ImageShape {
        var first: DatasetError?
        for (index, path) in paths.enumerated() {
            do throws(DatasetError) {
                return try ImageDecoder.contents(of: path).withBytes { raw throws(DatasetError) in
                    try ImageDecoder.shape(of: raw)
                }
            } catch {
                first = first ?? error.at(index, path: path)
                if policy == .fatal { break }
            }
        }
        throw first ?? DatasetError(.noSamples, "there is no image")
    }

    private static func list(_ path: String) throws(DatasetError) -> [String] {
        do {
            return try FileManager.default.contentsOfDirectory(atPath: path)
                .filter { !$0.hasPrefix(".") }
                .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        } catch {
            throw DatasetError(.missingFile, path: path, "cannot be listed: \(error.localizedDescription)")
        }
    }
}
