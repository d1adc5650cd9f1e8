"The human study of research ideas as published, and the rules that set such a study up."
import numpy as np
import polars as pl
import pytest
from scipy import stats

from agentlab_wb.infer.human_study import MOST_ARMS, mixed_conditions, pick_condition, rated, study_parts
from agentlab_wb.infer.models import simulate_ratings, units_of_analysis
from agentlab_wb.loaders.core import load
from agentlab_wb.show.ranking_charts import units_chart
from agentlab_wb.show.ranking_words import mixed_sentence, rating_agreement_sentence, units_sentence
from agentlab_wb.tables import DataError

ASPECTS = ("novelty", "excitement", "feasibility", "effectiveness", "overall")


@pytest.fixture
def ideas(real):
    labels = load(real("ai_researcher_reviews")).labels.filter(pl.col("study") == "ideation", pl.col("aspect").is_in([f"{a} (ideation)" for a in ASPECTS]))
    column, base, ratings, _ = pick_condition(rated(labels)[0])
    assert (column, base) == ("condition", "Human")
    return ratings


def test_published_means_and_significance(ideas):
    "Means as in SOURCE.json; the abstract's claims: AI ideas are more novel (p < 0.05), and not distinguishable in feasibility. Bonferroni over the five questions."
    units = units_of_analysis(ideas, baseline="Human", comparisons=5)
    assert any("per rater: not possible" in n and "anonymous" in n for n in units.notes)
    at = lambda unit, aspect, arm: units.tests.filter(unit=unit, aspect=f"{aspect} (ideation)", condition=arm).row(0, named=True)
    novelty = at("review", "novelty", "AI"), at("review", "novelty", "AI_Rerank")
    assert [(round(r["mean"], 2), r["n"]) for r in novelty] == [(5.64, 109), (5.81, 109)] and (round(novelty[0]["baseline_mean"], 2), novelty[0]["n_baseline"]) == (4.84, 119)
    for unit in ("review", "item"):
        for arm in ("AI", "AI_Rerank"):
            assert at(unit, "novelty", arm)["p_adjusted"] < .05 and at(unit, "feasibility", arm)["p_adjusted"] > .05
            assert "rated higher than Human in novelty" in units_sentence(units.tests.filter(aspect="novelty (ideation)", condition=arm))
            assert "not distinguishable in feasibility" in units_sentence(units.tests.filter(aspect="feasibility (ideation)", condition=arm))
    assert at("item", "novelty", "AI")["n"] == at("item", "novelty", "AI")["n_baseline"] == 49


def test_every_test_is_scipys(ideas):
    units = units_of_analysis(ideas, baseline="Human", comparisons=5).tests
    for row in units.iter_rows(named=True):
        rows = ideas.filter(aspect=row["aspect"])
        if row["unit"] == "item":
            rows = rows.group_by("item", "condition").agg(pl.col("label").mean())
        theirs = stats.ttest_ind(rows.filter(condition=row["condition"])["label"], rows.filter(condition="Human")["label"], equal_var=False)
        assert (row["p"], row["p_adjusted"]) == pytest.approx((theirs.pvalue, min(5 * theirs.pvalue, 1)), rel=1e-9)
        assert (row["lower"], row["upper"]) == pytest.approx(tuple(theirs.confidence_interval(.95)), rel=1e-9)


def test_execution_means(real):
    parts = dict(study_parts(rated(load(real("ai_researcher_reviews")).labels)[0], "condition", "Human"))
    assert sorted(parts) == ["execution", "ideation"]
    overall = units_of_analysis(parts["execution"].filter(aspect="overall (execution)"), baseline="Human").tests.filter(unit="review").row(0, named=True)
    assert (round(overall["baseline_mean"], 3), overall["n_baseline"], round(overall["mean"], 3), overall["n"]) == (4.0, 85, 3.406, 96)


def test_mixed_model_has_items_only(ideas):
    fit, notes = mixed_conditions(ideas.filter(aspect="novelty (ideation)"), "condition", "Human")
    assert fit.converged and list(fit.groups) == ["item"] and "anonymous" in notes[0]
    said = mixed_sentence(fit, "arm", "Human", what="novelty")
    assert "AI is higher than Human" in said and "147 items" in said and "12.9 %" in rating_agreement_sentence(fit)


def test_intraclass_correlation_is_anovas():
    "Balanced ratings: the share of the item is the one-way analysis of variance's (MSB − MSW) / (MSB + (k−1)·MSW) within arms."
    ratings = simulate_ratings(raters=30, items=30, per_rater=5, rater_sd=0, item_sd=1., noise_sd=1., seed=3)
    full = ratings.sort("item", "rater").group_by("item", maintain_order=True).head(3).filter(pl.len().over("item") == 3).with_row_index("r").with_columns(rater=pl.col("r").cast(pl.String))
    fit, _ = mixed_conditions(full, "condition", "human")
    items = full.group_by("condition", "item").agg(pl.col("label").mean().alias("m"), pl.col("label").var().alias("v"))
    within, between = items["v"].mean(), sum(3 * part["m"].var() * (part.height - 1) for _, part in items.group_by("condition")) / (items.height - 2)
    share = fit.components.filter(component="item")["share"][0]
    assert share == pytest.approx((between - within) / (between + 2 * within), abs=2e-4) and f"{100 * share:.1f} %" in rating_agreement_sentence(fit)


@pytest.mark.parametrize("name, column", [("popquorn_offensiveness", "rater_group_gender"), ("agent_reward_bench", "agent")])
def test_other_studies_are_set_up(real, name, column):
    ratings, _ = rated(load(real(name)).labels)
    found, base, kept, notes = pick_condition(ratings)
    assert found == column and kept[column].n_unique() > 1 and "need not be an effect" in notes[0]
    aspect = kept["aspect"].unique().sort()[0]
    units = units_of_analysis(kept.filter(aspect=aspect), column, baseline=base)
    assert {"review", "item"} <= set(units.tests["unit"]) and "<svg" in units_chart(units.tests).svg()


def test_setting_up_says_what_it_left_out():
    ratings = simulate_ratings(raters=20, items=30, per_rater=6)
    few = pl.concat([ratings, ratings.head(3).with_columns(condition=pl.lit("rare"), rater=pl.format("x{}", "rater")), ratings.head(4).with_columns(condition=pl.lit(None, pl.String), rater=pl.format("y{}", "rater"))])
    column, base, kept, notes = pick_condition(few)
    assert kept.height == ratings.height and "7 of 127" in notes[-1]
    many = ratings.with_columns(condition=pl.Series([f"arm {k % 15:02d}" for k in range(ratings.height)]))
    assert pick_condition(many, least=2)[2]["condition"].n_unique() == MOST_ARMS
    assert pick_condition(many, baseline="arm 14", least=2)[1] == "arm 14" and (pick_condition(many, baseline="arm 14", least=2)[2]["condition"] == "arm 14").any()
    with pytest.raises(DataError, match="no column has two arms"):
        pick_condition(ratings.filter(condition="ai"))
    with pytest.raises(DataError, match="no column 'colour'"):
        pick_condition(ratings, "colour")
    with pytest.raises(DataError, match="not among"):
        pick_condition(ratings, baseline="dog")


def test_equal_ratings_and_hostile_names():
    from conftest import HOSTILE
    ratings = simulate_ratings(raters=20, items=20, per_rater=6).with_columns(condition=pl.when(pl.col("condition") == "ai").then(pl.lit(HOSTILE[0])).otherwise(pl.lit(HOSTILE[7])))
    column, base, kept, _ = pick_condition(ratings)
    tests = units_of_analysis(kept, column, baseline=base).tests
    assert "<script>" not in units_chart(tests).svg() and "\u202e" not in units_sentence(tests)
    fit, _ = mixed_conditions(kept, column, base)
    assert "\u202e" not in mixed_sentence(fit, "arm", base)
    flat = units_of_analysis(kept.with_columns(label=pl.lit(3.)), column, baseline=base).tests
    assert "not distinguishable" in units_sentence(flat) and np.all(flat["estimate"].to_numpy() == 0)
    fit, _ = mixed_conditions(kept.with_columns(label=pl.lit(3.)), column, base)
    assert "higher" not in mixed_sentence(fit, "arm", base) + rating_agreement_sentence(fit)
