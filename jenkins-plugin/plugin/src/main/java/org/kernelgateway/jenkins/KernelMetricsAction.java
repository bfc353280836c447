package org.kernelgateway.jenkins;

import edu.umd.cs.findbugs.annotations.CheckForNull;
import edu.umd.cs.findbugs.annotations.NonNull;
import hudson.Extension;
import hudson.model.Action;
import hudson.model.Api;
import hudson.model.Job;
import hudson.model.Run;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import jenkins.model.TransientActionFactory;
import org.kernelgateway.jenkins.model.Numbers;
import org.kernelgateway.jenkins.model.TrendChart;
import org.kohsuke.stapler.Stapler;
import org.kohsuke.stapler.export.Exported;
import org.kohsuke.stapler.export.ExportedBean;

/** A job's metrics over its builds: the page "Kernel metrics", a small trend on the job's page, and the remote API. */
@ExportedBean
public class KernelMetricsAction implements Action {
    private static final int BUILDS_OF_PAGE = 100;
    private static final int BUILDS_OF_BOX = 30;
    private static final int CHARTS_OF_BOX = 2;

    private final Job<?, ?> job;

    KernelMetricsAction(Job<?, ?> job) {
        this.job = job;
    }

    public Job<?, ?> getJob() {
        return job;
    }

    public Api getApi() {
        return new Api(this);
    }

    /** The page's metrics over the last hundred builds, by run and metric. */
    @Exported
    public List<Series> getSeries() {
        return series(BUILDS_OF_PAGE, "../");
    }

    /** The last build's metrics by run; what /job/…/api/json shows of the trend. */
    @Exported(visibility = 2)
    public Map<String, Map<String, Double>> getLast() {
        Map<String, Map<String, Double>> last = new LinkedHashMap<>();
        Run<?, ?> build = job.getLastCompletedBuild();
        KernelRunAction action = build == null ? null : build.getAction(KernelRunAction.class);
        if (action != null) {
            action.getRuns().forEach(run -> last.put(run.getName(), run.getMetrics()));
        }
        return last;
    }

    /** The small trend's metrics: those that gates judge first, since the build's colour comes from them. */
    public List<Series> getBoxSeries() {
        List<Series> all = series(BUILDS_OF_BOX, "");
        Set<String> judged = judgedMetrics();
        all.sort((a, b) -> Boolean.compare(judged.contains(b.metric), judged.contains(a.metric)));
        return all.subList(0, Math.min(CHARTS_OF_BOX, all.size()));
    }

    /** Whether the page shows a metric: all, or those that its address names (?metric=accuracy&metric=f1). */
    public boolean isChosen(Series series) {
        String[] chosen = Stapler.getCurrentRequest().getParameterValues("metric");
        return chosen == null || Arrays.asList(chosen).contains(series.getLabel());
    }

    private Set<String> judgedMetrics() {
        Set<String> names = new HashSet<>();
        Run<?, ?> build = job.getLastCompletedBuild();
        KernelRunAction action = build == null ? null : build.getAction(KernelRunAction.class);
        if (action != null) {
            action.getRuns().forEach(run -> names.addAll(run.judged()));
        }
        return names;
    }

    private List<Series> series(int builds, String base) {
        Map<String, Series> byName = new TreeMap<>();
        Run<?, ?> build = job.getLastBuild();
        for (int count = 0; build != null && count < builds; count++, build = build.getPreviousBuild()) {
            KernelRunAction action = build.getAction(KernelRunAction.class);
            if (action == null) {
                continue;
            }
            for (KernelRun run : action.getRuns()) {
                for (Map.Entry<String, Double> metric : run.getMetrics().entrySet()) {
                    byName.computeIfAbsent(
                                    run.getName() + "\n" + metric.getKey(),
                                    key -> new Series(run.getName(), metric.getKey()))
                            .points
                            .add(
                                    0,
                                    new TrendChart.Point(
                                            build.getNumber(),
                                            metric.getValue(),
                                            run.getStatus(),
                                            base + build.getNumber() + "/" + KernelRunAction.URL + "/"));
                }
            }
        }
        List<Series> all = new ArrayList<>(byName.values());
        boolean several = all.stream().map(Series::getRun).distinct().count() > 1;
        all.forEach(one -> one.label = several ? one.run + " · " + one.metric : one.metric);
        return all;
    }

    @NonNull
    @Override
    public String getDisplayName() {
        return "Kernel metrics";
    }

    @CheckForNull
    @Override
    public String getIconFileName() {
        return "symbol-analytics";
    }

    @NonNull
    @Override
    public String getUrlName() {
        return "kernel-metrics";
    }

    /** One metric of the runs of one name over builds. */
    @ExportedBean(defaultVisibility = 3)
    public static final class Series {
        private final String run;
        private final String metric;
        private String label;
        private final List<TrendChart.Point> points = new ArrayList<>();

        Series(String run, String metric) {
            this.run = run;
            this.metric = metric;
        }

        @Exported
        public String getRun() {
            return run;
        }

        @Exported
        public String getMetric() {
            return metric;
        }

        @Exported
        public List<PointView> getPoints() {
            List<PointView> views = new ArrayList<>();
            points.forEach(point -> views.add(new PointView(point)));
            return views;
        }

        /** As the page names it: with the run's name if there are runs of several. */
        public String getLabel() {
            return label;
        }

        public String getLastValue() {
            return points.isEmpty() ? "" : Numbers.shortText(points.get(points.size() - 1).getValue());
        }

        /** The picture; all texts in it are escaped. */
        public String svg(int width, int height) {
            return new TrendChart(points, width, height).svg(getLabel());
        }
    }

    /** One build's value in the remote API. */
    @ExportedBean(defaultVisibility = 4)
    public static final class PointView {
        private final TrendChart.Point point;

        PointView(TrendChart.Point point) {
            this.point = point;
        }

        @Exported
        public int getBuild() {
            return point.getBuild();
        }

        @Exported
        public double getValue() {
            return point.getValue();
        }

        @Exported
        public String getStatus() {
            return point.getStatus();
        }
    }

    /** Gives every job whose last builds had kernel runs the page. */
    @Extension
    @SuppressWarnings("rawtypes")
    public static final class Factory extends TransientActionFactory<Job> {
        private static final int BUILDS_LOOKED_AT = 5;

        @Override
        public Class<Job> type() {
            return Job.class;
        }

        @NonNull
        @Override
        public Collection<? extends Action> createFor(@NonNull Job target) {
            Job<?, ?> job = target;
            Run<?, ?> build = job.getLastBuild();
            for (int count = 0; build != null && count < BUILDS_LOOKED_AT; count++, build = build.getPreviousBuild()) {
                if (build.getAction(KernelRunAction.class) != null) {
                    return List.of(new KernelMetricsAction(job));
                }
            }
            return List.of();
        }
    }
}
