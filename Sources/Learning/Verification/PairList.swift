public import Dataset
internal import Foundation

extension VerificationSet {
    /// Reads a list of pairs over the images of a folder.
    ///
    /// Two formats, told apart by the first line:
    /// - LFW's `pairs.txt`: `folds<tab>n`, then per fold n lines `name i j` (the same) and n lines `name i name j`
    ///   (different), for the images `name/name_0001.jpg`;
    /// - comma-separated values with a first line `fold,a,b,same`: fold from 0, two file names, 0 or 1.
    ///
    /// Names may have spaces: tabs between names and numbers make clear what belongs together. One with commas is in double
    /// quotes. A file `name_0001.jpg` is looked for in the folder itself and in its folder `name`, and
    /// with the other endings of images if there is none with its own.
    ///
    /// - Parameters:
    ///   - missing: whether a pair whose image is missing is an error or left out and reported.
    /// - Throws: `DatasetError` with the line that is malformed or whose image is missing, or if no pair is left.
    public init(
        pairsPath path: String, imagesIn folder: String, imageShape: ImageShape, missing: BadSamplePolicy = .fatal,
        flips: Bool = true
    ) throws(DatasetError) {
        try imageShape.validate()
        let lines = try PairText.lines(path: path)
        var parser = PairListParser(path: path, folder: folder, missing: missing)
        if lines.first.map(PairText.commaSeparated)?.map({ $0.lowercased() }) == ["fold", "a", "b", "same"] {
            try parser.readCommaSeparated(lines)
        } else {
            try parser.readLFW(lines)
        }
        guard !parser.pairs.isEmpty else {
            throw DatasetError(.noSamples, path: path, "has no pair whose images are in \(folder)")
        }
        self.init(
            name: ((path as NSString).lastPathComponent as NSString).deletingPathExtension,
            images: ImageFiles(paths: parser.paths, imageShape: imageShape), pairs: parser.pairs, flips: flips,
            problems: parser.problems, path: path)
    }
}

/// Image files that are decoded when they are needed.
struct ImageFiles: ImageSource {
    let paths: [String]
    let imageShape: ImageShape

    var sampleCount: Int { paths.count }

    func origin(of index: Int) -> String { paths[index] }

    func image(at index: Int, into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DatasetError) {
        try ImageDecoder.decode(file: paths[index], index: index, shape: imageShape, into: pixels)
    }
}

/// Reads the lines of a list of pairs.
private struct PairListParser {
    let path: String
    let folder: String
    let missing: BadSamplePolicy
    var paths: [String] = []
    var pairs: [VerificationPair] = []
    var problems: [DatasetError] = []
    private var numbers: [String: Int] = [:]

    init(path: String, folder: String, missing: BadSamplePolicy) {
        self.path = path
        self.folder = folder
        self.missing = missing
    }

    private func fail(_ line: Int, _ problem: String) -> DatasetError {
        DatasetError(.malformedFile, path: path, "line \(line + 1) \(problem)")
    }

    mutating func readCommaSeparated(_ lines: [Substring]) throws(DatasetError) {
        for (number, line) in lines.enumerated().dropFirst() where !line.allSatisfy(\.isWhitespace) {
            let fields = PairText.commaSeparated(line)
            guard fields.count == 4, let fold = Int(fields[0]), (0..<1000).contains(fold),
                ["0", "1"].contains(fields[3])
            else {
                throw fail(number, "is not `fold,a,b,same`; a name with a comma is put in double quotes")
            }
            try add(fields[1], fields[2], same: fields[3] == "1", fold: fold, line: number)
        }
    }

    mutating func readLFW(_ lines: [Substring]) throws(DatasetError) {
        let header = (lines.first ?? "").split(whereSeparator: \.isWhitespace).map { Int($0) }
        guard let first = header.first, let count = header.last ?? nil, header.count <= 2,
            let folds = header.count == 2 ? first : 1, (1...1000).contains(folds), (1...1_000_000).contains(count)
        else { throw fail(0, "is neither `folds n` of LFW's pairs.txt nor `fold,a,b,same`") }
        let body = lines.enumerated().dropFirst().filter { !$0.element.allSatisfy(\.isWhitespace) }
        guard body.count == folds * count * 2 else {
            throw fail(
                0, "announces \(folds) folds of \(count) and \(count) pairs, but \(body.count) pairs follow: truncated?"
            )
        }
        for (position, (number, line)) in body.enumerated() {
            let readings = PairText.readings(line)
            guard let first = readings.first else {
                throw fail(number, "is neither `name i j` nor `name i name j` with image numbers 0...9999")
            }
            // The first half of a fold are pairs of the same. Without tabs a name that ends in a number can be read in two
            // ways: then it is the one whose images exist.
            let expected = position % (2 * count) < count
            let ordered = readings.filter { $0.same == expected } + readings.filter { $0.same != expected }
            let pair =
                ordered.count == 1
                ? first
                : ordered.first { self.number(of: Self.file($0.a)) != nil && self.number(of: Self.file($0.b)) != nil }
                    ?? ordered[0]
            try add(
                Self.file(pair.a), Self.file(pair.b), same: pair.same, fold: position / (2 * count), line: number)
        }
    }

    private static func file(_ image: (name: String, index: Int)) -> String {
        let digits = String(image.index)
        return image.name + "_" + String(repeating: "0", count: 4 - digits.count) + digits
    }

    private mutating func add(_ a: String, _ b: String, same: Bool, fold: Int, line: Int) throws(DatasetError) {
        guard let first = number(of: a), let second = number(of: b) else {
            let error = DatasetError(
                .missingFile, path: path, index: pairs.count + problems.count,
                "line \(line + 1) names \(a) and \(b), at least one of which is not in \(folder)")
            if missing == .fatal { throw error }
            problems.append(error)
            return
        }
        pairs.append(VerificationPair(first: first, second: second, same: same, fold: fold))
    }

    /// The number of the image of a file name with or without its ending, or nil if there is no such file.
    private mutating func number(of name: String) -> Int? {
        if let known = numbers[name] { return known }
        guard !name.isEmpty, !name.split(separator: "/").contains("..") else { return nil }
        let isComplete = ImageDecoder.extensions.contains((name as NSString).pathExtension.lowercased())
        let stem = isComplete ? (name as NSString).deletingPathExtension : name
        let person = stem.lastIndex(of: "_").map { String(stem[..<$0]) } ?? stem
        for file in [name] + Self.endings.map({ "\(stem).\($0)" }) {
            for candidate in [folder + "/" + file, folder + "/" + person + "/" + file] {
                var isFolder: ObjCBool = false
                guard FileManager.default.fileExists(atPath: candidate, isDirectory: &isFolder), !isFolder.boolValue
                else { continue }
                numbers[name] = paths.count
                paths.append(candidate)
                return paths.count - 1
            }
        }
        return nil
    }

    /// The endings that a name without one may have, or one whose file has another: in this order.
    private static let endings: [String] = {
        let first = ["jpeg", "jpg", "pgm", "png", "ppm"]
        let all = first + ImageDecoder.extensions.subtracting(first).sorted()
        return all + all.map { $0.uppercased() }
    }()
}
