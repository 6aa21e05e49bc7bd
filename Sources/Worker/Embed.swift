import ArgumentParser
import Dataset
import Foundation
import Model
import ProcessSupport
import Verification

/// `worker embed`.
struct Embed: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "embed",
        abstract: "Write the embeddings of images to a file.",
        discussion: """
            Writes `.npy` (float32 [n, D]) or safetensors (`features` [n, D], and `labels` [n] if there are labels), and beside it \
            OUTPUT.names.tsv with label and name of each row. Embeddings are not normalised. The same command goes on after it was \
            killed: what is done is in OUTPUT.rows and OUTPUT.progress until the end. With another backbone, other images or options it \
            is refused; to begin anew, remove OUTPUT.progress.

            With --int8, safetensors has `features` int8 [n, D] and `scales` f32 [n]: a quarter of the size. A row is features * scale, \
            with scale = max|x| / 127, rounded to nearest. `worker identify` searches such rows.
            """)

    @Option(help: "The backbone: a safetensors or ONNX file.", completion: .file(extensions: ["safetensors", "onnx"]))
    var backbone: String

    @Option(
        help: """
            The network that a safetensors file from elsewhere holds, if its tensors do not show it: \(BackboneConfiguration.names.joined(separator: ", ")).
            """)
    var network: String?

    @Option(
        help: """
            The images: a folder of them, a folder with a folder per identity, a train.rec or its folder, or a list (.txt, .tsv, .lst) \
            with a path in every line, after which a tab and a label may follow.
            """, completion: .file())
    var images: String

    @Option(help: "The file to write: .safetensors or .npy.", completion: .file())
    var output: String

    @Option(help: "What becomes of pixels: MEAN,SCALE[,RGB|BGR].")
    var preprocess = Preprocessing()

    @Flag(inversion: .prefixedNo, help: "Add the embedding of the mirror image.")
    var flip = true

    @Flag(
        help: """
            Leave out images that do not decode, instead of stopping. All are decoded once before; those left out are named in \
            OUTPUT.skipped.tsv.
            """)
    var skipUndecodable = false

    @Flag(help: "Write int8 rows with a scale each.")
    var int8 = false

    @Option(help: "Threads that compute.")
    var threads = min(1024, ProcessorCores.usableCount)

    func validate() throws {
        guard output.hasSuffix(".npy") || output.hasSuffix(".safetensors") else {
            throw ValidationError("--output \(output) ends neither in .safetensors nor in .npy")
        }
        guard !int8 || output.hasSuffix(".safetensors") else {
            throw ValidationError("--int8 needs an --output that ends in .safetensors: .npy has no place for scales")
        }
        if let problem = WritablePlace.problem(ofFile: output) {
            throw ValidationError("--output cannot be written: \(problem)")
        }
        try Overwriting.refuse([("--output", output)], inputs: [backbone, images])
        guard (1...1024).contains(threads) else { throw ValidationError("--threads \(threads) is not in 1...1024") }
    }

    func run() throws {
        do { try embed() } catch {
            Shown.failure("embed", error)
            throw ExitCode(70)
        }
    }

    private func embed() throws {
        let network = try LoadedBackbone(backbone, as: self.network, threads: threads)
        let preprocess = network.preprocessing(self.preprocess)
        var images = try NamedImages(images, shape: network.shape)
        if skipUndecodable {
            let decodable = decodableImages(of: images.source, threads: threads)
            let list = output + ".skipped.tsv"
            unlink(list)
            if !decodable.leftOut.isEmpty {
                try decodable.writeLeftOut(to: list)
                print("\(decodable.leftOut.count) images that do not decode are left out: \(list)")
            }
            guard decodable.sampleCount > 0 else { throw DatasetError(.noSamples, path: list, "names every image") }
            images = images.keeping(decodable)
        }
        let work = [
            "backbone": network.fingerprint, "preprocess": "\(preprocess)", "flip": "\(flip)",
            "images": "\(images.source.sampleCount) images \(String(images.fingerprint, radix: 16))",
        ]
        let file = try EmbeddingOutput(path: output, work: work)
        let total = images.source.sampleCount
        let done = min(file.count, total)
        if done > 0 { Shown.note("going on after \(done) of \(total) images") }
        var progress = CountProgress(total: total, noun: "images", done: done)
        try network.embedder(flips: flip, preprocessing: preprocess).embed(images.source, done..<total) {
            range, values in
            try file.append(values, size: values.count / range.count)
            progress.update(range.upperBound)
        }
        try file.finish(
            names: (0..<total).map(images.source.origin), labels: images.labels,
            metadata: [
                "preprocessing": "\(preprocess)", "flip": "\(flip)", "backbone": network.fingerprint,
            ].merging(images.classes.map { [EmbeddingRows.classesKey: $0] } ?? [:]) { $1 },
            inBytes: int8)
        print("\(output): \(total) embeddings of \(file.size) values")
        if let cosine = file.meanCosine { print("int8: the mean cosine to the f32 rows is \(Units.fixed(cosine, 6))") }
    }
}

/// Images with names, and labels if there are any.
struct NamedImages {
    let source: any ImageSource
    let labels: [Int64]?
    let fingerprint: UInt64
    /// Where labels are places of folders in the order of their names: what all the names are. Files with the same have the same
    /// person behind a label.
    let classes: String?

    private init(source: any ImageSource, labels: [Int64]?, fingerprint: UInt64, classes: String?) {
        (self.source, self.labels, self.fingerprint, self.classes) = (source, labels, fingerprint, classes)
    }

    /// Those that decode.
    func keeping(_ decodable: DecodableImages) -> NamedImages {
        // Which images stay decides the rows.
        let sum = decodable.leftOut.reduce(fingerprint) { sum, image in
            withUnsafeBytes(of: image.index) { ContentFingerprint.of($0, after: sum) }
        }
        return NamedImages(
            source: decodable, labels: labels.map { labels in decodable.indices.map { labels[$0] } }, fingerprint: sum,
            classes: classes)
    }

    init(_ path: String, shape: ImageShape) throws(DatasetError) {
        var isFolder: ObjCBool = false
        let isThere = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
        if isThere, isFolder.boolValue, ListedImages.isFlat(folder: path) {
            let images = try ListedImages(folder: path, imageShape: shape)
            (source, labels, fingerprint, classes) = (images, nil, images.fingerprint, nil)
        } else if isThere, !isFolder.boolValue, !path.hasSuffix(".rec") {
            let images = try ListedImages(list: path, imageShape: shape)
            (source, labels, fingerprint, classes) = (images, images.labels, images.fingerprint, nil)
        } else {
            let dataset = try DatasetReader.open(path: path, options: DatasetOptions(imageShape: shape))
            source = dataset
            labels = (0..<dataset.sampleCount).map { Int64(dataset.label(of: $0)) }
            fingerprint = dataset.fingerprint
            classes = (dataset as? FolderDataset).map { folder in
                Data(folder.classNames.joined(separator: "\n").utf8).withUnsafeBytes {
                    String(ContentFingerprint.of($0), radix: 16)
                }
            }
        }
    }
}

/// Tries to decode every image, and shows how far it is.
func decodableImages(of source: any ImageSource, threads: Int) -> DecodableImages {
    var progress = CountProgress(total: source.sampleCount, noun: "images decoded")
    return DecodableImages(of: source, threads: threads) { progress.update($0) }
}
