# How fuel consumption depends on weight in R's bundled mtcars data: a linear model, its figures, a plot.
fit <- lm(mpg ~ wt, data = mtcars)
print(summary(fit)$coefficients)

cat(sprintf("::metric name=r_squared value=%.4f\n", summary(fit)$r.squared))
cat(sprintf("::metric name=mpg_per_ton value=%.4f\n", coef(fit)[["wt"]] * 2.2046))

plot(mpg ~ wt, data = mtcars, xlab = "weight, 1000 lb", ylab = "miles per gallon")
abline(fit, col = "red")
