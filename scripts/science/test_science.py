"""Tests of the driver's arithmetic and of its page: python3 -m unittest discover -s scripts/science"""
import pathlib
import sys
import unittest
import xml.dom.minidom

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import figures  # noqa: E402
import page  # noqa: E402
import plan  # noqa: E402
import plot  # noqa: E402
import training  # noqa: E402


class Figures(unittest.TestCase):
    def test_student(self):
        # Quantiles of 97.5 % as tables have them.
        for degrees, expected in ((1, 12.7062), (2, 4.3027), (4, 2.7764), (9, 2.2622), (30, 2.0423)):
            self.assertAlmostEqual(figures.student(degrees), expected, places=3)

    def test_interval(self):
        self.assertEqual(figures.interval([3.0]), (3.0, None))
        middle, half = figures.interval([1.0, 2.0, 3.0])
        self.assertEqual(middle, 2)
        self.assertAlmostEqual(half, 4.3027 / 3**0.5, places=3)

    def test_paired(self):
        # Seeds differ by far more than what is compared, which pairs do not see.
        values, reference = {1: 10.1, 2: 20.2, 3: 30.3, 5: 1.0}, {1: 10.0, 2: 20.0, 3: 30.0, 4: 9.0}
        middle, half, count = figures.paired(values, reference)
        self.assertAlmostEqual(middle, 0.2)
        self.assertAlmostEqual(half, 4.3027 * 0.1 / 3**0.5, places=3)
        self.assertEqual(count, 3)
        self.assertIsNone(figures.paired({1: 1.0}, {2: 1.0}))


class Plan(unittest.TestCase):
    def test_every_run_has_a_name_of_its_own_and_a_reference(self):
        runs = [run for experiment in plan.EXPERIMENTS for run in experiment.runs]
        self.assertEqual(len({run.name for run in runs}), len(runs))
        self.assertEqual(len(plan.ORDER), len(runs))
        for run in runs:
            if run.reference:
                reference = (run.experiment, run.reference, run.seed)
                found = [one for one in runs if (one.experiment, one.variant, one.seed) == reference]
                self.assertEqual(len(found), 1, run.name)

    def test_runs_of_a_variant_differ_in_their_seed_alone(self):
        for experiment in plan.EXPERIMENTS:
            for variant in {run.variant for run in experiment.runs if not run.classes}:
                runs = [run for run in experiment.runs if run.variant == variant]
                self.assertEqual([run.seed for run in runs], list(plan.SEEDS))
                self.assertEqual([run.configuration["seed"] for run in runs], list(plan.SEEDS))
                self.assertEqual(len({str({**run.configuration, "seed": 0}) for run in runs}), 1)

    def test_sections_are_merged(self):
        self.assertEqual(plan.merged({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}, "seed": 4}), {"a": {"x": 1, "y": 3}, "seed": 4})


class Page(unittest.TestCase):
    def test_the_committed_page_is_what_the_results_give(self):
        self.assertEqual(page.differences(), [])

    def test_results_are_of_the_plan(self):
        for path in training.RESULTS.glob("*.json"):
            self.assertIn(path.stem, plan.RUNS)
        for name, result in page.load().items():
            self.assertEqual(result["configuration"], plan.RUNS[name].configuration, name)

    def test_losses_are_thinned(self):
        points = training.thinned([(step, float(step)) for step in range(1600)])
        self.assertEqual(len(points), training.POINTS)
        self.assertEqual(points[0], [19, 9.5])
        self.assertEqual(training.thinned([(0, 1.0)]), [[0, 1.0]])

    def test_ticks_are_round(self):
        self.assertEqual(plot.ticks(0, 10), [0, 2, 4, 6, 8, 10])
        self.assertEqual(plot.decades(12, 900), [10, 100, 1000])

    def test_plots_are_xml(self):
        for text in (
            plot.curves("a < b", "x", "y", [("one & two", [(1, 2.0), (10, 3.0)])]),
            plot.curves("t", "x", "y", [("one", [(10, 2.0), (1000, 3.0)])], logarithmic=True),
            plot.differences("t", "points", [("one", 0.1, None), ("two", -0.2, 0.3)]),
        ):
            xml.dom.minidom.parseString(text)


if __name__ == "__main__":
    unittest.main()
