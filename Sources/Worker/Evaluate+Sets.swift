import Dataset
import Foundation
import Tensors
import Verification

/// The kinds of sets that have no folds.
extension Evaluate {
    /// IJB-B or IJB-C.
    func evaluateTemplates(_ folder: String) throws -> TemplateReport {
        let name = try set ?? TemplateSet.name(in: folder)
        let options = TemplatePool.Options(keepNorm: keepNorm, detectorScore: detectorScore)
        var templates = try TemplateSet(folder: folder, name: name, landmarks: embeddings == nil || detectorScore)
        var leftOut: [DecodableImages.LeftOut]?
        var pool: TemplatePool
        if let embeddings {
            let rows = try EmbeddingRows(path: embeddings)
            guard rows.count == templates.images.count else {
                throw DatasetError(
                    .unlikely, path: embeddings,
                    "has \(rows.count) rows, but \(name.rawValue)_face_tid_mid.txt has \(templates.images.count) lines: row i belongs to line i"
                )
            }
            pool = TemplatePool(templates, size: rows.size, options: options)
            try rows.readAll { try pool.add($0) }
        } else {
            let network = try loadedBackbone()
            guard network.shape.height == LandmarkAlignment.extent, network.shape.width == LandmarkAlignment.extent
            else {
                throw DatasetError(
                    .invalidOption,
                    "the backbone takes images of \(network.shape); aligned faces are \(LandmarkAlignment.extent) pixels a side"
                )
            }
            var faces: any ImageSource = try AlignedFaces(templates, channels: network.shape.channels)
            if skipUndecodable {
                let decodable = decodableImages(of: faces, threads: threads)
                if !decodable.leftOut.isEmpty { leftOut = decodable.leftOut }
                (faces, templates) = (decodable, templates.keeping(decodable.indices))
            }
            pool = TemplatePool(templates, size: network.embeddingSize, options: options)
            var progress = CountProgress(total: faces.sampleCount, noun: "images")
            try network.embedder(flips: flip, preprocessing: preprocess).embed(faces, 0..<faces.sampleCount) {
                try pool.add($1)
                progress.update($0.upperBound)
            }
        }
        var report = try TemplateReport(
            templates, features: pool.templates(), options: options, identification: identification, threads: threads)
        report.leftOut = leftOut
        return report
    }

    /// Probes against a gallery with distractors.
    func evaluateOpenSet(gallery: String, probes: String) throws -> OpenSetSearch {
        let network = try loadedBackbone()
        let known = try ListedImages(folder: gallery, imageShape: network.shape)
        let asked = try ListedImages(folder: probes, imageShape: network.shape)
        var rows = try features(known, network)
        if let distractors {
            rows += try features(ListedImages(folder: distractors, imageShape: network.shape), network)
        }
        return try OpenSetSearch(
            gallery: TemplateFeatures(normalizing: rows, size: network.embeddingSize),
            labels: known.paths.map(OpenSetSearch.label(ofFile:)),
            probes: TemplateFeatures(normalizing: features(asked, network), size: network.embeddingSize),
            probeLabels: asked.paths.map(OpenSetSearch.label(ofFile:)), threads: threads)
    }

    /// Every pair of a labelled set, of images or of embeddings.
    func evaluateAllToAll(_ path: String) throws -> AllToAll {
        if path.hasSuffix(".safetensors") {
            let stored = try EmbeddingRows(path: path)
            guard let labels = try stored.labels() else {
                throw DatasetError(.malformedFile, path: path, "has no labels, so no pair is known to be the same")
            }
            return AllToAll(try stored.features(), labels: labels, threads: threads)
        }
        let network = try loadedBackbone()
        let images = try NamedImages(path, shape: network.shape)
        guard let labels = images.labels else {
            throw DatasetError(
                .invalidOption, path: path, "has no labels: a folder per identity, or a list with labels, is needed")
        }
        return AllToAll(
            TemplateFeatures(normalizing: try features(images.source, network), size: network.embeddingSize),
            labels: labels, threads: threads)
    }

    private func loadedBackbone() throws -> LoadedBackbone {
        guard let backbone else { throw DatasetError(.invalidOption, "--backbone is needed to embed images") }
        return try LoadedBackbone(backbone, as: network, threads: threads)
    }

    private func features(_ source: any ImageSource, _ network: LoadedBackbone) throws -> [Float] {
        var rows: [Float] = []
        rows.reserveCapacity(source.sampleCount * network.embeddingSize)
        var progress = CountProgress(total: source.sampleCount, noun: "images")
        try network.embedder(flips: flip, preprocessing: preprocess).embed(source, 0..<source.sampleCount) {
            rows.append(contentsOf: $1)
            progress.update($0.upperBound)
        }
        return rows
    }
}
