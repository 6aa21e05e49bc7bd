/// External runs: a job from outside owns samples, network and their optimiser; the cluster has the class centers alone.
extension RunConfiguration {
    /// Steps of a run that goes on until its job says otherwise: the most that messages can count.
    public static let endlessSteps = (1 << 48) - 1

    /// Whether samples and network are those of a job from outside.
    public var isExternal: Bool { data.kind == "external" }

    /// Whether nobody knows the number of steps.
    public var isEndless: Bool { isExternal && schedule.steps == 0 }

    /// Steps of the run as they are shown: 0 if nobody knows.
    public var knownSteps: Int { isEndless ? 0 : totalSteps }

    /// Whether the job chooses the learning rate of every step.
    public var jobSetsRate: Bool { schedule.rate == "job" }

    /// Whether a job may begin anew with any step that the cluster can go back to, without an operator's word.
    public var jobGoesBackFreely: Bool { cluster.jobGoesBack == "allow" }

    /// Dense slices that the shards divide among themselves. Without parameters there is one, which is empty.
    public var denseSliceCount: Int { isExternal ? 1 : backbone.denseSlices }

    /// Checks the keys of external runs. One that has no effect is refused: whoever gives it expects an effect.
    func validateExternal() throws(ConfigurationError) {
        func require(_ valid: Bool, _ key: String, _ problem: @autoclosure () -> String) throws(ConfigurationError) {
            if !valid { throw ConfigurationError(key: key, problem: problem()) }
        }
        let (rate, goesBack) = (schedule.rate ?? "plan", cluster.jobGoesBack ?? "ask")
        try require(["plan", "job"].contains(rate), "schedule.rate", "is \(rate.shown); use plan or job")
        try require(
            ["ask", "allow"].contains(goesBack), "cluster.job_goes_back", "is \(goesBack.shown); use ask or allow")
        try require(
            (backbone.name == "external") == isExternal, "backbone.name",
            "is \(backbone.name) with data.kind \(data.kind): external goes with external, because whoever has the network has the samples"
        )
        guard isExternal else {
            try require(rate == "plan", "schedule.rate", "is job, and there is none: it needs data.kind external")
            try require(
                goesBack == "ask", "cluster.job_goes_back", "has no effect without data.kind external: leave it out")
            return
        }
        try require(data.classes > 0, "data.classes", "is not set; with data.kind external there are no data to count")
        if let key = keyWithoutEffect {
            throw ConfigurationError(
                key: key, problem: "has no effect with data.kind external, where it is up to the job: leave it out")
        }
        let initial = Schedule()
        if jobSetsRate {
            for (key, isInitial) in [
                ("learning_rate", schedule.learningRate == initial.learningRate),
                ("warmup", schedule.warmup == initial.warmup),
                ("decay_power", schedule.decayPower == initial.decayPower),
            ] {
                try require(
                    isInitial, "schedule.\(key)",
                    "has no effect with schedule.rate job: leave it out, or set rate to plan")
            }
        } else if isEndless {
            for (key, value) in [("warmup", schedule.warmup), ("decay_power", schedule.decayPower)] {
                try require(
                    value == 0, "schedule.\(key)",
                    "is \(value), and schedule.steps is 0: without a number of steps the rate cannot follow it; give schedule.steps, or set warmup and decay_power to 0, or rate to job"
                )
            }
        }
    }

    /// The first key that is set and means nothing in an external run.
    private var keyWithoutEffect: String? {
        let initial = RunConfiguration()
        func isInitial<Value: Equatable>(_ value: (RunConfiguration) -> Value) -> Bool { value(self) == value(initial) }
        let keys: [(String, Bool)] = [
            ("data.path", data.path.isEmpty), ("data.image_size", isInitial(\.data.imageSize)),
            ("data.image_width", (data.imageWidth ?? 0) == 0),
            ("data.channels", isInitial(\.data.channels)), ("data.maximum_classes", isInitial(\.data.maximumClasses)),
            ("data.minimum_images", isInitial(\.data.minimumImages)),
            ("data.held_out_classes", isInitial(\.data.heldOutClasses)), ("data.flip", !data.flip),
            ("data.shift", data.shift == 0), ("data.augment", (data.augment ?? []).isEmpty),
            ("data.corrupt_images", isInitial(\.data.corruptImages)), ("data.samples", data.samples == 0),
            ("data.fingerprint", data.fingerprint.isEmpty), ("backbone.depths", backbone.depths.isEmpty),
            ("backbone.widths", backbone.widths.isEmpty), ("backbone.dense_slices", isInitial(\.backbone.denseSlices)),
            ("backbone.initial", backbone.initial.isEmpty), ("backbone.graph", (backbone.graph ?? "").isEmpty),
            ("backbone.frozen", (backbone.frozen ?? []).isEmpty),
            ("backbone.compute", (backbone.compute ?? "f32") == "f32"),
            ("backbone.exchange_gradients", (backbone.exchangeGradients ?? "f32") == "f32"),
            ("optimizer.decay", (optimizer.decay ?? "all") == "all"),
            ("optimizer.clip_norm", isInitial(\.optimizer.clipNorm)), ("schedule.epochs", isInitial(\.schedule.epochs)),
            ("evaluation.every", evaluation.every == 0),
            ("evaluation.held_out_pairs", isInitial(\.evaluation.heldOutPairs)),
            ("evaluation.sets", evaluation.sets.isEmpty),
        ]
        return keys.first { !$0.1 }?.0
    }
}
