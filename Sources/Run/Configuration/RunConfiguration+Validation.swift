extension RunConfiguration {
    /// The most steps and samples: sample positions must stay far inside 64 bits.
    private static let countLimit = 1 << 40
    /// The most micro-batches of a global batch: a worker reports the loss of each.
    private static let microBatchLimit = 1 << 16

    /// M: micro-batches of a global batch.
    public var microBatchCount: Int { batch.size / batch.microBatch }

    /// Number of steps of the run. `data.samples` must be known if the schedule counts epochs.
    public var totalSteps: Int {
        if isEndless { return Self.endlessSteps }
        return schedule.steps > 0
            ? schedule.steps : Int((schedule.epochs * Double(data.samples) / Double(batch.size)).rounded(.up))
    }

    /// Where the checkpoints are.
    public var checkpointDirectory: String {
        checkpoint.directory.isEmpty ? output + "/checkpoints" : checkpoint.directory
    }

    /// Steps of linear warm-up.
    public var warmupSteps: Int { jobSetsRate ? 0 : Int(schedule.warmup * Double(totalSteps)) }

    /// Checks every value against its range.
    ///
    /// - Throws: `ConfigurationError` naming the first key that does not fit, its value and the range.
    public func validate() throws(ConfigurationError) {
        func require(_ condition: Bool, _ key: String, _ problem: @autoclosure () -> String) throws(ConfigurationError)
        {
            if !condition { throw ConfigurationError(key: key, problem: problem()) }
        }
        try require(!output.isEmpty, "output", "is empty; name a directory")
        try require(
            ["exact", "logged"].contains(determinism ?? "exact"), "determinism",
            "is \(determinism ?? ""); use exact or logged")
        try require(seed <= UInt64(Int.max), "seed", "is \(seed), not in 0...\(Int.max)")
        try require(
            ["rec", "folder", "glyphs", "features", "external"].contains(data.kind), "data.kind",
            "is \(data.kind); use rec, folder, glyphs, features or external")
        try require(
            ["skip", "fail"].contains(data.corruptImages), "data.corrupt_images",
            "is \(data.corruptImages); use skip or fail")
        try require((8...1024).contains(data.imageSize), "data.image_size", "is \(data.imageSize), not in 8...1024")
        try require(
            data.imageWidth == 0 || (8...1024).contains(data.width), "data.image_width",
            "is \(data.width), not in 8...1024; 0 is the same as data.image_size")
        try require([1, 3].contains(data.channels), "data.channels", "is \(data.channels), neither 1 nor 3")
        try require(
            data.maximumClasses >= 0 && data.minimumImages >= 1 && data.heldOutClasses >= 0 && data.classes >= 0
                && data.samples >= 0, "data", "has a negative count")
        try require((0...16).contains(data.shift), "data.shift", "is \(data.shift), not in 0...16")
        try data.validateAugmentation()
        try require(
            (1...8192).contains(backbone.embeddingSize), "backbone.embedding_size",
            "is \(backbone.embeddingSize), not in 1...8192")
        try require(
            (1...4096).contains(backbone.denseSlices), "backbone.dense_slices",
            "is \(backbone.denseSlices), not in 1...4096")
        try validateExternal()
        try require(
            ["auto", "f32", "bf16", Head.openCompute].contains(backbone.compute ?? "f32"), "backbone.compute",
            "is \(backbone.compute ?? ""); use auto, f32 or bf16")
        try require(
            ["f32", "bf16"].contains(backbone.exchangeGradients ?? "f32"), "backbone.exchange_gradients",
            "is \(backbone.exchangeGradients ?? ""); use f32 or bf16")
        try require(
            (0..<1).contains(backbone.dropout ?? 0), "backbone.dropout",
            "is \(backbone.dropout ?? 0), not in 0..<1: a probability below 1")
        try require(
            (backbone.name == "none") == (data.kind == "features"), "backbone.name",
            "is \(backbone.name) with data.kind \(data.kind); stored features go with backbone none, images with a network"
        )
        try require(
            (1...65536).contains(head.slices) && head.slices & (head.slices - 1) == 0, "head.slices",
            "is \(head.slices), not a power of two up to 65536")
        try require(
            head.scale > 0 && head.scale <= 300, "head.scale", "is \(head.scale), must be above 0 and at most 300")
        try require(
            (0.01...100).contains(head.m1) && abs(head.m2) <= 100 && abs(head.m3) <= 100, "head.m1",
            "must be in 0.01...100, m2 and m3 in -100...100")
        try require(
            (0...1).contains(head.interclassFilter), "head.interclass_filter",
            "is \(head.interclassFilter), not in 0...1")
        try require((0...1).contains(head.sampleRate), "head.sample_rate", "is \(head.sampleRate), not in 0...1")
        try require(
            (0...2).contains(head.sampling ?? 1), "head.sampling",
            "is \(head.sampling ?? 1); use 1 or 2, or 0 for the newest")
        try require(
            ["auto", "rows", "features"].contains(head.exchange), "head.exchange",
            "is \(head.exchange); use auto, rows or features")
        try require(
            ["auto", "f32", "bf16", "int8"].contains(head.exchangeRows), "head.exchange_rows",
            "is \(head.exchangeRows); use auto, f32, bf16 or int8")
        try require(
            ["f32", "bf16"].contains(head.exchangeGradients), "head.exchange_gradients",
            "is \(head.exchangeGradients); use f32 or bf16")
        try require(["f32", "bf16"].contains(head.storage), "head.storage", "is \(head.storage); use f32 or bf16")
        try require(
            ["stochastic", "nearest"].contains(head.rounding), "head.rounding",
            "is \(head.rounding); use stochastic or nearest")
        try require(
            ["auto", "f32", "fma", "bf16", Head.openCompute].contains(head.compute), "head.compute",
            "is \(head.compute); use auto, f32, fma or bf16")
        try require((1...1_048_576).contains(batch.size), "batch.size", "is \(batch.size), not in 1...1048576")
        try require(
            batch.microBatch >= 1 && batch.size % batch.microBatch == 0, "batch.micro_batch",
            "is \(batch.microBatch), which does not divide batch.size \(batch.size)")
        try require(
            microBatchCount <= Self.microBatchLimit, "batch.micro_batch",
            "is \(batch.microBatch), which cuts the batch into \(microBatchCount) micro-batches; at most \(Self.microBatchLimit) are possible"
        )
        try validateOptimizer()
        try require(
            (0...1).contains(optimizer.weightDecay), "optimizer.weight_decay",
            "is \(optimizer.weightDecay), not in 0...1")
        try require(
            optimizer.clipNorm >= 0 && optimizer.clipNorm.isFinite, "optimizer.clip_norm",
            "is \(optimizer.clipNorm), must not be negative")
        try require(
            ["skip", "stop"].contains(optimizer.notFinite), "optimizer.not_finite",
            "is \(optimizer.notFinite); use skip or stop")
        try require(
            optimizer.notFiniteLimit >= 0, "optimizer.not_finite_limit",
            "is \(optimizer.notFiniteLimit), must not be negative")
        try require(
            schedule.steps >= 0 && schedule.epochs >= 0 && schedule.epochs < 1e6, "schedule", "has a negative length")
        try require(
            data.samples <= Self.countLimit, "data.samples", "is \(data.samples), more than \(Self.countLimit)")
        try require(
            schedule.steps <= Self.countLimit && (isEndless || totalSteps <= Self.countLimit), "schedule",
            "has more than \(Self.countLimit) steps")
        try require(
            schedule.learningRate >= 0 && schedule.learningRate.isFinite, "schedule.learning_rate",
            "is \(schedule.learningRate), must not be negative")
        try require((0...1).contains(schedule.warmup), "schedule.warmup", "is \(schedule.warmup), a fraction in 0...1")
        try require(
            schedule.decayPower >= 0 && schedule.decayPower <= 100, "schedule.decay_power",
            "is \(schedule.decayPower), not in 0...100")
        try validateStages()
        try require(evaluation.every >= 0 && evaluation.heldOutPairs >= 0, "evaluation", "has a negative count")
        try require(
            (0...Self.countLimit).contains(checkpoint.everySteps), "checkpoint.every_steps",
            "is \(checkpoint.everySteps), not in 0...\(Self.countLimit)")
        try require(
            (0...525_600).contains(checkpoint.everyMinutes), "checkpoint.every_minutes",
            "is \(checkpoint.everyMinutes), not in 0...525600")
        try require(checkpoint.keep >= 0, "checkpoint.keep", "is \(checkpoint.keep), must not be negative")
        try require((1...1024).contains(cluster.shards), "cluster.shards", "is \(cluster.shards), not in 1...1024")
        try require((1...4096).contains(cluster.workers), "cluster.workers", "is \(cluster.workers), not in 1...4096")
        try require(
            (0.2...3600).contains(cluster.leaseSeconds), "cluster.lease_seconds",
            "is \(cluster.leaseSeconds), not in 0.2...3600")
        try require(
            cluster.stuckSeconds == 0 || (1...86_400).contains(cluster.stuckSeconds), "cluster.stuck_seconds",
            "is \(cluster.stuckSeconds), not 0 or in 1...86400")
        let (copies, least) = (cluster.copies ?? 1, cluster.minCopies ?? 1)
        try require((1...2).contains(copies), "cluster.copies", "is \(copies); use 1 or 2")
        try require((1...copies).contains(least), "cluster.min_copies", "is \(least), not in 1...cluster.copies")
        try require(
            (0...86_400).contains(cluster.promoteAfter ?? 30), "cluster.promote_after",
            "is \(cluster.promoteAfter ?? 30), not in 0...86400")
        try require(
            copies == 1 || head.exchange != "rows", "cluster.copies",
            "is \(copies) with head.exchange rows, in which a shard logs nothing of the others' slices; use features or auto"
        )
        try require(
            ["auto", "manual"].contains(cluster.rebalance), "cluster.rebalance",
            "is \(cluster.rebalance); use auto or manual")
        try require(
            ["measured", "equal"].contains(cluster.shares ?? "measured"), "cluster.shares",
            "is \(cluster.shares ?? ""); use measured or equal")
        try require(
            (1...1024).contains(cluster.movesAtOnce), "cluster.moves_at_once",
            "is \(cluster.movesAtOnce), not in 1...1024")
        try require(
            (0...Self.countLimit).contains(cluster.pauseAfter), "cluster.pause_after",
            "is \(cluster.pauseAfter), not in 0...\(Self.countLimit)")
    }
}
